"""From the configuration to the worker's own settings. Imports the engine, and torch with it: for worker processes."""

from __future__ import annotations

import dataclasses

import torch

from daemon.cameras import RosterSettings
from daemon.config import Config
from daemon.outbox import OutboxSettings
from daemon.session import SessionSettings
from daemon.worker import WorkerSettings
from streaming.admission import AdmissionSettings
from streaming.engine import EngineSettings
from streaming.past import NoteSettings
from streaming.reuse import Reuse
from streaming.scheduler import SchedulerSettings
from streaming.sources import Limits
from streaming.trigger import TriggerSettings


def worker_settings(config: Config) -> WorkerSettings:
    """What a worker runs with under this configuration."""
    camera, engine, rules, notes, store = config.camera, config.engine, config.rules, config.notes, config.store
    session = SessionSettings(
        recheck_s=rules.recheck_s,
        blind_std=camera.blind_std,
        blind_s=camera.blind_s,
        lag_window_s=camera.lag_window_s,
        lag_on=camera.lag_on,
        lag_off=camera.lag_off,
        gap_s=camera.gap_s,
        trigger=TriggerSettings(z_on=rules.change_z, rho_on=rules.change_rho),
        notes=NoteSettings(min_s=notes.min_s, max_s=notes.max_s, max_tokens=notes.max_tokens, recall=notes.recall),
    )
    roster = RosterSettings(
        lease_ttl_s=config.worker.lease_ttl_s,
        budget_tokens=camera.budget_tokens,
        budget_bytes=camera.budget_mb << 20,
        drop=camera.drop,
        policy=camera.policy,
        limits=Limits(**dataclasses.asdict(config.limits)),
        media_dir=config.media_dir,
        session=session,
        max_frames=engine.frames_per_step,
        admission=AdmissionSettings(headroom=config.worker.headroom, min_share=config.worker.min_share),
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
            max_memory_bytes=engine.memory_mb << 20,
            archive_bytes=engine.archive_mb << 20,
            max_recall_tokens=engine.recall_tokens,
            canvas_bytes=engine.canvas_mb << 20,
            reuse=Reuse(ring=engine.canvas_ring, refresh=engine.canvas_refresh),
            max_note_tokens=notes.recall_tokens,
            policy_options={kind: {"whole_s": camera.whole_s} for kind in ("salience", "merge", "retrieve")},
            threads=engine.threads,
            drop_options={
                "feature": {"threshold": camera.drop_threshold},
                "dtdr": {
                    "threshold": camera.drop_threshold,
                    "floor": camera.drop_floor,
                    "cap": camera.drop_cap,
                    "key_s": camera.drop_key_s,
                },
                "pixel": {"times": camera.drop_noise, "key_s": camera.drop_key_s},
            },
        ),
        scheduler=SchedulerSettings(
            max_frames=engine.frames_per_step, step_ms=engine.step_ms, max_running=engine.max_asks
        ),
        roster=roster,
        outbox=OutboxSettings(max_events=config.worker.outbox_events),
    )
