"""Other engines that do the work of `verger features`, in a separate environment, `.venv-peers`.

Nothing here imports verger: that environment has Daft, Ray, OpenVINO and Pillow only. The part `peers` of
`make bench` (benchmarks/parts/peers.py) exports verger's graph and starts these modules.
"""
