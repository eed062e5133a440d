"""What people and machines read over HTTP: pages, JSON, metrics, health. Nothing here changes anything."""
