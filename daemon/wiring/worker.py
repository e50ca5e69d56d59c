"""From the configuration to the worker's own settings. Imports the engine, and torch with it: for worker processes."""

from __future__ import annotations

import dataclasses

import torch

from daemon.cameras import RosterSettings
from daemon.config import Config
from daemon.outbox import OutboxSettings
from daemon.session import SessionSettings
from daemon.worker import WorkerSettings
from streaming.engine import EngineSettings
from streaming.scheduler import SchedulerSettings
from streaming.sources import Limits
from streaming.trigger import TriggerSettings


def worker_settings(config: Config) -> WorkerSettings:
    """What a worker runs with under this configuration."""
    camera, engine, rules, store = config.camera, config.engine, config.rules, config.store
    session = SessionSettings(
        recheck_s=rules.recheck_s,
        blind_std=camera.blind_std,
        blind_s=camera.blind_s,
        lag_window_s=camera.lag_window_s,
        lag_on=camera.lag_on,
        lag_off=camera.lag_off,
        gap_s=camera.gap_s,
        trigger=TriggerSettings(z_on=rules.change_z, rho_on=rules.change_rho),
    )
    roster = RosterSettings(
        lease_ttl_s=config.worker.lease_ttl_s,
        budget_tokens=camera.budget_tokens,
        drop=camera.drop,
        policy=camera.policy,
        limits=Limits(**dataclasses.asdict(config.limits)),
        media_dir=config.media_dir,
        session=session,
    )
    return WorkerSettings(
        model=config.model.name,
        dtype=None if config.model.dtype == "auto" else getattr(torch, config.model.dtype),
        evidence_max_bytes=store.max_evidence_mb << 20,
        evidence_max_age_s=store.max_evidence_age_s,
        events_max=store.max_events,
        events_max_age_s=store.max_event_age_s,
        engine=EngineSettings(
            max_cameras=engine.max_cameras,
            max_asks=engine.max_asks,
            max_budget_tokens=camera.budget_tokens,
            max_pixels=engine.max_pixels,
            pairing=engine.pairing,
            low_watermark=engine.low_watermark,
            threads=engine.threads,
            drop_options={"feature": {"threshold": camera.drop_threshold}},
        ),
        scheduler=SchedulerSettings(max_frames=engine.frames_per_step, max_running=engine.max_asks),
        roster=roster,
        outbox=OutboxSettings(max_events=config.worker.outbox_events),
    )
