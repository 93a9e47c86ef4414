"""The page people look at: reads a finished result, writes report.html."""
