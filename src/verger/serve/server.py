"""Run the application in uvicorn, in one process or several."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verger.errors import SettingsError
from verger.kernel.classifier.classifier import classifier_path, load_classifier
from verger.serve.settings import ServeSettings

_GRACE_S = 10  # for requests that are being answered when the service stops
_START_S = 60  # for a process that loads the model


def run_server(settings: ServeSettings, on_start: Callable[[str], None]) -> None:
    """Answer requests until SIGINT or SIGTERM. on_start: gets the address of the page when the service is ready.

    Raises SettingsError if the address cannot be used.
    """
    import uvicorn

    if settings.processes > 1:
        _run_processes(settings, on_start)
        return
    from verger.serve.app import create_app, open_service

    listener = _listen(settings)
    app = create_app(open_service(settings))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                on_start(_url(settings, listener))

    _run_until_signal(lambda: Server(_config(app, settings)).run([listener]))


def _run_processes(settings: ServeSettings, on_start: Callable[[str], None]) -> None:
    """Start server processes on one socket; uvicorn restarts those that end."""
    from prometheus_client.multiprocess import mark_process_dead
    from uvicorn.supervisors import Multiprocess

    from verger.serve.app import SETTINGS_VARIABLE
    from verger.serve.data import migrated_database
    from verger.serve.metrics import SHARED_FOLDER

    with migrated_database(settings):  # an error is shown once, and not by each process
        load_classifier(classifier_path(settings.classifier))
    with tempfile.TemporaryDirectory(prefix="verger-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        # Not in the environment, which the processes that decode photos would inherit: there may be a password.
        content = Path(folder, "settings.json")
        content.write_text(settings.model_dump_json())
        os.environ[SETTINGS_VARIABLE] = str(content)
        listener = _listen(settings)
        config = _config("verger.serve.app:create_app_from_environment", settings, factory=True)

        class Processes(Multiprocess):
            def init_processes(self) -> None:
                super().init_processes()
                if all(process.wait_until_ready(_START_S, self.should_exit) for process in self.processes):
                    on_start(_url(settings, listener))

            def keep_subprocess_alive(self) -> None:
                before = {process.pid for process in self.processes}
                super().keep_subprocess_alive()
                for pid in before - {process.pid for process in self.processes}:
                    mark_process_dead(pid)  # type: ignore[no-untyped-call]

        _run_until_signal(Processes(config, [listener]).run)


def _run_until_signal(run: Callable[[], None]) -> None:
    """Run a server. It stops by itself at SIGINT or SIGTERM, and then raises the signal again."""
    try:
        run()
    except KeyboardInterrupt:
        return


def _config(app: Any, settings: ServeSettings, **options: Any) -> Any:
    import uvicorn

    from verger.serve.logs import log_configuration

    return uvicorn.Config(
        app,
        workers=settings.processes,
        log_config=log_configuration(),
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.certificate_key,
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="on",
        **options,
    )


def _listen(settings: ServeSettings) -> socket.socket:
    """Return a socket that is bound to the host and port of the settings."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            "port", settings.port, f"a free port on an address of this machine ({settings.host}: {error.strerror})"
        ) from error
    listener.set_inheritable(True)
    return listener


def _url(settings: ServeSettings, listener: socket.socket) -> str:
    scheme = "http" if settings.certificate is None else "https"
    host = settings.host if settings.host not in ("0.0.0.0", "::") else socket.gethostname()  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}/"
