"""From the configuration to the gateway's own settings. Imports the web server: for gateway processes."""

from __future__ import annotations

from clients.service import ClientLimits
from daemon.config import Config
from daemon.gateway import GatewayConfig


def gateway_settings(config: Config) -> GatewayConfig:
    """What a gateway runs with under this configuration."""
    gateway = config.gateway
    return GatewayConfig(
        host=gateway.host,
        port=gateway.port,
        require_token=gateway.require_token,
        origins=gateway.origins,
        hosts=gateway.hosts,
        max_cameras=gateway.max_cameras,
        max_rules=gateway.max_rules,
        clients=ClientLimits(
            clients=gateway.max_clients,
            messages_per_s=gateway.messages_per_s,
            message_burst=gateway.message_burst,
        ),
    )
