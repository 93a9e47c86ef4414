"""Other engines doing the work of `verger features`, run in their own environment, `.venv-peers`.

Nothing here imports verger: that environment has Daft, Ray, OpenVINO and Pillow only. The part `peers` of
`make bench` (benchmarks/parts/peers.py) exports verger's graph and starts these modules.
"""
