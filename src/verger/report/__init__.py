"""The HTML reports: read a finished result, write report.html."""
