"""What reading a story adds before the classifier sees it: clean text, language, tickers, copy keys."""
