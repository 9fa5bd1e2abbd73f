//! Health, metrics, the OpenAPI document, and the operator verbs that are the host's and not business. Health never
//! depends on load: a busy process that is taken out of a load balancer pushes its load onto the others.

use http::StatusCode;
use seawall_domain::{Error, codes};

use crate::exchange::{Answer, Exchange};
use crate::host::Health;
use crate::listener::drain::DrainState;

/// `platform.livez`
pub async fn livez(exchange: Exchange) -> Result<Answer, Error> {
    match exchange.app.host.is_alive() {
        true => Answer::ok(&Health {
            status: "alive".into(),
            checks: Vec::new(),
        }),
        false => {
            let stuck = Health {
                status: "stuck".into(),
                checks: Vec::new(),
            };
            Answer::json(StatusCode::SERVICE_UNAVAILABLE, &stuck)
        }
    }
}

/// `platform.readyz`
pub async fn readyz(exchange: Exchange) -> Result<Answer, Error> {
    let checks = exchange.app.host.readiness();
    let is_draining = exchange.app.drain.state() != DrainState::Serving;
    let is_ready = !is_draining && checks.iter().all(|check| check.ok);
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = if is_draining {
        "draining"
    } else if is_ready {
        "ready"
    } else {
        "not_ready"
    };
    Answer::json(
        status,
        &Health {
            status: word.into(),
            checks,
        },
    )
}

/// `platform.startupz`
pub async fn startupz(exchange: Exchange) -> Result<Answer, Error> {
    let startup = exchange.app.host.startup();
    let status = if startup.is_done {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Answer::json(status, &startup)
}

/// `platform.metrics`
pub async fn metrics(exchange: Exchange) -> Result<Answer, Error> {
    let app = &exchange.app;
    app.admission.refresh_gauges();
    app.metrics
        .in_flight
        .set(i64::try_from(app.admission.in_flight()).unwrap_or(i64::MAX));
    let mut text = String::with_capacity(64 << 10);
    prometheus_client::encoding::text::encode(&mut text, &app.registry)
        .map_err(|_| codes::DEFECT.because("The metrics could not be written; report the request id."))?;
    Ok(Answer::text(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        text,
    ))
}

/// `platform.version`
pub async fn version(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.version())
}

/// `platform.openapi`
pub async fn openapi(exchange: Exchange) -> Result<Answer, Error> {
    Ok(Answer::text(
        "application/json",
        exchange.app.openapi(&exchange.origin.listener.surfaces),
    ))
}

/// `platform.status`
pub async fn platform_status(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.status().await?)
}

/// `platform.stop`
pub async fn platform_stop(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.platform_stop().await?)
}

/// `admission.show`
pub async fn admission_show(exchange: Exchange) -> Result<Answer, Error> {
    let app = &exchange.app;
    let mut view = app.admission.view(exchange.now_at());
    view.waiting_room = app.admission.waiting_room_view(&app.platform);
    view.challenges = app.alarm.view(&app.platform);
    Answer::ok(&view)
}

/// `config.show`
pub async fn config_show(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.config_show().await?)
}

/// `backup.create`
pub async fn backup_create(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.backup_create().await?)
}

/// `backup.drill`
pub async fn backup_drill(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.backup_drill().await?)
}

/// `backup.show`
pub async fn backup_show(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.backup_show().await?)
}

/// `store.stats`
pub async fn store_stats(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.store_stats().await?)
}

/// `store.verify`
pub async fn store_verify(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.store_verify().await?)
}

/// `store.copy`
pub async fn store_copy(exchange: Exchange) -> Result<Answer, Error> {
    Answer::ok(&exchange.app.host.store_copy().await?)
}
