//! Logs and traces of the process. Lines go to standard error, so that standard output stays for answers; finished
//! spans go to standard output in OpenTelemetry's form when asked for. OpenTelemetry's interfaces change with every
//! release: nothing outside this file names them.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, TraceId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, JsonFields, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::settings::config::HostConfig;

/// Name of the span field that holds the request id; it is the W3C trace id.
const REQUEST_ID: &str = "request_id";

/// Longest wait for the last spans at the end, in milliseconds.
const FLUSH_MAX: Duration = Duration::from_secs(2);

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics of any thread since the start. Each is a defect.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Logs and traces of this process.
pub struct Telemetry {
    level: reload::Handle<EnvFilter, Registry>,
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging; once in a process.
    ///
    /// # Errors
    /// When the level cannot be read, or logging was started before.
    pub fn start(config: &HostConfig) -> Result<Self, String> {
        let (filter, level) = reload::Layer::new(filter(&config.log_level)?);
        let json = match config.log_format.as_str() {
            "human" => false,
            "json" => true,
            _ => !std::io::stderr().is_terminal(),
        };
        let lines = if json {
            fmt::layer()
                .json()
                .flatten_event(true)
                .fmt_fields(SpanFields::default())
                .with_writer(std::io::stderr)
                .boxed()
        } else {
            fmt::layer()
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .boxed()
        };
        let provider = config
            .otel_stdout
            .then(|| provider(opentelemetry_stdout::SpanExporter::default()));
        let spans = provider
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("seawall")));
        let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(spans);
        subscriber
            .try_init()
            .map_err(|error| format!("logging cannot be started: {error}"))?;
        count_panics();
        Ok(Self { level, provider })
    }

    /// Changes the level while running.
    ///
    /// # Errors
    /// When it cannot be read; the old one stays.
    pub fn set_level(&self, text: &str) -> Result<(), String> {
        let filter = filter(text)?;
        self.level
            .reload(filter)
            .map_err(|error| format!("log.level cannot be changed: {error}"))
    }

    /// Writes out what is buffered.
    pub fn stop(&self) {
        if let Some(provider) = &self.provider {
            let _ = provider.shutdown_with_timeout(FLUSH_MAX);
        }
    }
}

/// The fields of a span as one JSON object. The library's own reads and writes all of it anew for each field that becomes
/// known later, several for each request; here such a field is appended.
#[derive(Debug, Default)]
struct SpanFields(JsonFields);

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> std::fmt::Result {
        let mut added = String::new();
        self.0.format_fields(Writer::new(&mut added), fields)?;
        let (known, added) = (&mut current.fields, added.trim_start_matches('{'));
        if !known.ends_with('}') {
            known.push('{');
        } else if added != "}" {
            known.pop();
            if known.len() > 1 {
                known.push(',');
            }
        } else {
            return Ok(());
        }
        known.push_str(added);
        Ok(())
    }
}

/// Put before a filter: one line for each handshake that names no host would let any client fill the log.
const QUIET: &str = "rustls=error,";

/// Would rustls' warnings be written only because everybody's are? A filter that names rustls, or asks for all details
/// or for errors only, is the operator's own choice.
fn leaves_rustls_loud(text: &str) -> bool {
    let mut directives = text.split(',').map(str::trim);
    let everybody = directives.clone().rfind(|directive| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| level.eq_ignore_ascii_case(directive))
    });
    let is_plain =
        everybody.is_some_and(|level| level.eq_ignore_ascii_case("warn") || level.eq_ignore_ascii_case("info"));
    is_plain && !directives.any(|directive| directive.starts_with("rustls"))
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    let quiet = if leaves_rustls_loud(text) { QUIET } else { "" };
    EnvFilter::try_new(format!("{quiet}{text}")).map_err(|error| format!("log.level: `{text}` cannot be read: {error}"))
}

/// Logs every panic with its place (never with its message's arguments' secrets: product code panics with fixed texts)
/// and counts it, instead of the default print.
fn count_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let place = info
            .location()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "panic: a defect, please report it");
    }));
}

fn provider<E: SpanExporter + 'static>(exporter: E) -> SdkTracerProvider {
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name("seawall")
        .build();
    SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(RequestTrace(exporter))
        .build()
}

/// Gives each span the trace id its request already carries in answers and logs, which came from the caller's
/// `traceparent` or from our own generator; the SDK would invent another.
#[derive(Debug)]
struct RequestTrace<E>(E);

impl<E: SpanExporter> SpanExporter for RequestTrace<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.iter_mut().for_each(adopt_request_id);
        self.0.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.0.set_resource(resource);
    }
}

fn adopt_request_id(span: &mut SpanData) {
    let id = span
        .attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == REQUEST_ID);
    let Some(trace_id) = id.and_then(|attribute| TraceId::from_hex(&attribute.value.as_str()).ok()) else {
        return;
    };
    let old = &span.span_context;
    span.span_context = SpanContext::new(
        trace_id,
        old.span_id(),
        old.trace_flags(),
        old.is_remote(),
        old.trace_state().clone(),
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn spans_carry_the_trace_id_of_their_request() {
        let kept = Kept::default();
        let provider = provider(kept.clone());
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info_span!("request", request_id = id).in_scope(|| ());
        });
        provider.force_flush().unwrap();
        let spans = kept.0.lock().unwrap();
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].span_context.trace_id().to_string(), id);
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fields_that_become_known_later_are_in_the_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer()
            .json()
            .flatten_event(true)
            .fmt_fields(SpanFields::default())
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let late = tracing::info_span!("late", op = tracing::field::Empty, status = tracing::field::Empty);
            late.record("op", "session.\"create\"");
            late.record("status", 503);
            late.in_scope(|| tracing::info!("one"));
            let both = tracing::info_span!("both", id = 7, status = tracing::field::Empty);
            // Twice in the text; whoever writes the line reads it, and takes the last.
            both.record("status", 500);
            both.record("status", 200);
            both.in_scope(|| tracing::info!("two"));
            tracing::info_span!("none").in_scope(|| tracing::info!("three"));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let spans: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["span"].take())
            .collect();
        assert_eq!(
            spans,
            [
                serde_json::json!({"name": "late", "op": "session.\"create\"", "status": 503}),
                serde_json::json!({"name": "both", "id": 7, "status": 200}),
                serde_json::json!({"name": "none"}),
            ]
        );
    }

    #[test]
    fn rustls_is_quiet_unless_the_operator_says_otherwise() {
        let speaks = |text: &str| {
            let subscriber = tracing_subscriber::registry().with(filter(text).unwrap());
            tracing::subscriber::with_default(
                subscriber,
                || tracing::enabled!(target: "rustls::msgs::handshake", tracing::Level::WARN),
            )
        };
        for quiet in [
            "info",
            "warn",
            "info,seawall_web=debug",
            "error",
            "off",
            "seawall_web=debug",
        ] {
            assert!(!speaks(quiet), "{quiet}");
        }
        for loud in [
            "debug",
            "trace",
            "info,rustls=warn",
            "rustls=debug,info",
            "info,rustls::msgs=warn",
        ] {
            assert!(speaks(loud), "{loud}");
        }
        let errors = tracing_subscriber::registry().with(filter("off").unwrap());
        tracing::subscriber::with_default(errors, || {
            assert!(!tracing::enabled!(target: "rustls::conn", tracing::Level::ERROR));
        });
    }

    #[test]
    fn levels_that_cannot_be_read_are_refused() {
        assert!(filter("info,seawall_web=debug").is_ok());
        assert!(filter("seawall_web=loud").unwrap_err().contains("log.level"));
    }
}
