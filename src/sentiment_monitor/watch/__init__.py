"""The tick loop: what is judged when, under which lease, and how what was decided gets delivered."""
