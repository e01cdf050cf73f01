"""Runs the VK simulator until SIGINT or SIGTERM."""

from app.cli.processes import listen
from app.cli.service import serve_app, stop_signals
from app.log import configure_logging, log
from app.settings import read_settings
from simulator import SimulatorOptions, create_simulator


async def serve_simulator(options: SimulatorOptions, port: int) -> None:
    """Run the VK simulator on the loopback interface.

    Raises:
        StartFailed: the port is in use.
    """
    configure_logging(read_settings())
    with listen("127.0.0.1", port, "Choose another --port.") as sock:
        async with stop_signals() as stop:
            log.info("simulating", url=f"http://127.0.0.1:{sock.getsockname()[1]}", groups=options.groups)
            await serve_app(create_simulator(options), sock, stop)
