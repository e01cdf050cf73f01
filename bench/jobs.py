"""Measures jobs: how fast they are run, started, rescued, cancelled and told of, each against something named, in one run.

`python -m bench.jobs` takes about three minutes; with `--quick` it measures a little of each, which shows that it runs.
"""

import argparse
import asyncio
import logging
import math
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import psutil
import structlog
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from app.cli.processes import free_port, running
from app.events import CHANNEL, CANCELLATIONS, job_topic
from app.jobs.collection import Request
from app.jobs.progress import Progress, RunningJob
from app.jobs.queue import NewJob, cancel, enqueue
from app.jobs.runs import take
from app.jobs.states import JobEventKind
from app.jobs.worker import LOOK_SECONDS
from app.resources import Resources, open_resources
from app.settings import read_settings
from app.store import groups
from app.store.jobs import job_by_id
from app.wall import VkGroup
from bench.queues import CONCURRENCY, KIND, Alone, Body, Ours, Side, clear
from bench.surroundings import Beside, beside, empty_database, postgresql, simulated_vk
