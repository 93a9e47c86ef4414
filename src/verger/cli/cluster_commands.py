"""Commands of `verger cluster`: a Spark standalone cluster on this machine, for tests and trials."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from verger.cli import tables
from verger.cli.app import CLUSTERS, EXIT_ERROR, app, console, messages

commands = typer.Typer(
    help="Start and stop a Spark cluster on this machine, for tests and trials.", no_args_is_help=True
)
app.add_typer(commands, name="cluster", rich_help_panel=CLUSTERS)

NO_CLUSTER = "no cluster is running"


@commands.command()
def up(
    workers: Annotated[int, typer.Option(help="number of worker processes")] = 2,
    cores: Annotated[int, typer.Option(help="cores of each worker")] = 1,
    memory: Annotated[str, typer.Option(help="memory of each worker for Spark's executors: 1g, 1500m")] = "1g",
    host: Annotated[
        str,
        typer.Option(help="address of the master; anyone who can connect to it can run programs on this machine"),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port of the master; 0: any free port")] = 0,
) -> None:
    """Start a master and workers, which run until `verger cluster down`. They use the Spark in the pyspark package.

    \b
    verger cluster up
    verger cluster up --workers 4 --cores 2 --memory 2g
    """
    from verger.engine.spark.standalone.control import ClusterOptions
    from verger.engine.spark.standalone.control import up as start

    options = ClusterOptions(workers, cores, memory, host, port)
    with messages.status("starting") as status_line:
        cluster = start(options, status_line.update)
    size = f"workers: {workers}, each with cores: {cores}, memory: {memory}"
    console.print(f"{cluster.master} is running ({size})", highlight=False, soft_wrap=True)
    console.print(f"next: verger run photos/ out/ --master {cluster.master}", highlight=False, soft_wrap=True)


@commands.command()
def down() -> None:
    """Stop the workers and the master.

    \b
    verger cluster down
    """
    from verger.engine.spark.standalone.control import down as stop

    with messages.status("stopping"):
        stopped = stop()
    if stopped is None:
        console.print(NO_CLUSTER)
        return
    master, processes = stopped
    names = ", ".join(f"{process.role} {process.pid}" for process in processes)
    console.print(f"stopped {master}: {names}", highlight=False, soft_wrap=True)


@commands.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="print only one JSON object")] = False,
) -> None:
    """Show the master, workers, cores, memory and applications. Exits with 1 if no cluster is running.

    \b
    verger cluster status
    verger cluster status --json
    """
    from verger.engine.spark.standalone.control import status as read_status

    cluster = read_status()
    if as_json:
        print(json.dumps({"is_running": cluster is not None} | (asdict(cluster) if cluster else {})))
    else:
        console.print(tables.cluster_table(cluster) if cluster else NO_CLUSTER)
    if cluster is None:
        raise typer.Exit(EXIT_ERROR)
