//! `contracts.Limits` as the core's limits.

use iii_fast_core::limits::{HttpLimits, Limits};
use iii_fast_core::state::Quotas;
use pyo3::prelude::*;

/// Reads the fields of a `contracts.Limits`.
pub fn from_python(limits: &Bound<'_, PyAny>) -> PyResult<Limits> {
    Ok(Limits {
        message_bytes_max: limits.getattr("message_bytes_max")?.extract()?,
        quotas: Quotas {
            key_bytes_max: limits.getattr("key_bytes_max")?.extract()?,
            value_bytes_max: limits.getattr("value_bytes_max")?.extract()?,
            scope_bytes_max: limits.getattr("scope_bytes_max")?.extract()?,
            total_bytes_max: limits.getattr("total_bytes_max")?.extract()?,
        },
        log_bytes_max: limits.getattr("log_bytes_max")?.extract()?,
        outbox_throttle_bytes: limits.getattr("outbox_throttle_bytes")?.extract()?,
        outbox_bytes_max: limits.getattr("outbox_bytes_max")?.extract()?,
        invocations_in_flight_max: limits.getattr("invocations_in_flight_max")?.extract()?,
        functions_per_worker_max: limits.getattr("functions_per_worker_max")?.extract()?,
        registration_bytes_max: limits.getattr("registration_bytes_max")?.extract()?,
        ping_interval_ms: limits.getattr("ping_interval_ms")?.extract()?,
        silence_ms: limits.getattr("silence_ms")?.extract()?,
        stall_ms: limits.getattr("stall_ms")?.extract()?,
        close_ms: limits.getattr("close_ms")?.extract()?,
        busy_poll_us: limits.getattr("busy_poll_us")?.extract()?,
        stripes: limits.getattr("stripes")?.extract()?,
        http: http(&limits.getattr("http")?)?,
        ..Limits::default()
    })
}

/// Reads the fields of a `contracts.HttpLimits`.
fn http(limits: &Bound<'_, PyAny>) -> PyResult<HttpLimits> {
    Ok(HttpLimits {
        head_bytes_max: limits.getattr("head_bytes_max")?.extract()?,
        body_bytes_max: limits.getattr("body_bytes_max")?.extract()?,
        outbox_bytes_max: limits.getattr("outbox_bytes_max")?.extract()?,
        head_ms: limits.getattr("head_ms")?.extract()?,
        body_ms: limits.getattr("body_ms")?.extract()?,
        idle_ms: limits.getattr("idle_ms")?.extract()?,
        write_ms: limits.getattr("write_ms")?.extract()?,
        leave_ms: limits.getattr("leave_ms")?.extract()?,
        linger_ms: limits.getattr("linger_ms")?.extract()?,
        linger_bytes_max: limits.getattr("linger_bytes_max")?.extract()?,
        request_ms: limits.getattr("request_ms")?.extract()?,
        connections_max: limits.getattr("connections_max")?.extract()?,
        requests_max: limits.getattr("requests_max")?.extract()?,
    })
}
