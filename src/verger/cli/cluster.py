"""A Spark cluster on this machine, for trying things out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from verger.cli import tables
from verger.cli.app import EXIT_ERROR, app, console, messages

commands = typer.Typer(
    help="A Spark cluster of processes on this machine, for trying things out.", no_args_is_help=True
)
app.add_typer(commands, name="cluster")

NONE_RUNS = "no cluster is running"


@commands.command()
def up(
    workers: Annotated[int, typer.Option(help="worker processes")] = 2,
    cores: Annotated[int, typer.Option(help="of each worker")] = 1,
    memory: Annotated[str, typer.Option(help="of each worker, for Spark's executors: 1g, 1500m")] = "1g",
    host: Annotated[
        str, typer.Option(help="this machine's address to listen on; whoever reaches it can run programs here")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="of the master; 0 takes a free one")] = 0,
) -> None:
    """Start a master and worker processes, from the Spark that pyspark brings; they stay until `down`.

    \b
    verger cluster up
    verger cluster up --workers 4 --cores 2 --memory 2g
    """
    from verger.engine.spark.standalone.control import ClusterOptions
    from verger.engine.spark.standalone.control import up as start

    options = ClusterOptions(workers, cores, memory, host, port)
    with messages.status("starting") as shown:
        cluster = start(options, shown.update)
    size = f"workers: {workers}, each with cores: {cores}, memory: {memory}"
    console.print(f"{cluster.master} is running ({size})", highlight=False, soft_wrap=True)
    console.print(f"next: verger run photos/ out/ --master {cluster.master}", highlight=False, soft_wrap=True)


@commands.command()
def down() -> None:
    """Stop the cluster: its workers, then its master.

    \b
    verger cluster down
    """
    from verger.engine.spark.standalone.control import down as stop

    with messages.status("stopping"):
        stopped = stop()
    if stopped is None:
        console.print(NONE_RUNS)
        return
    master, processes = stopped
    told = ", ".join(f"{process.role} {process.pid}" for process in processes)
    console.print(f"stopped {master}: {told}", highlight=False, soft_wrap=True)


@commands.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object, and nothing else")] = False,
) -> None:
    """What runs: the master, its workers, cores, memory and applications. Exit code 1 where nothing does.

    \b
    verger cluster status
    verger cluster status --json
    """
    from verger.engine.spark.standalone.control import status as look

    found = look()
    if as_json:
        print(json.dumps({"is_running": found is not None} | (asdict(found) if found else {})))
    else:
        console.print(tables.cluster_table(found) if found else NONE_RUNS)
    if found is None:
        raise typer.Exit(EXIT_ERROR)
