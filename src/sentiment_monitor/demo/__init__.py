"""An invented news week, played through the real service."""
