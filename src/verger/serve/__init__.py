"""The HTTP service `verger serve`: it names the fruit in photos and keeps the photos that people give it.

`app` builds the application from the other modules, `server` runs it. `recognizer` computes the answers, with
`decoders` (child processes) and `admission` (the bounded queue). `routes` has one module for each group of URLs.
`security`, `body_limit` and `rate_limits` protect the service; `metrics` and `logs` show what it does. `static` is
the page for phones.
"""
