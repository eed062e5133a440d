"""The pages. The server renders them whole; ``static/monitor.js`` draws the charts and keeps an open page current."""
