"""The HTML reports: modules that read a finished result and write report.html."""
