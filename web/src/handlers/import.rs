//! `import.*` and the way back, `account.export`.

use seawall_domain::Error;

use crate::exchange::{Answer, Exchange};
use crate::wire;

/// `import.begin`
pub async fn import_begin(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::ImportBegin = exchange.json()?;
    let progress = exchange.platform().import_begin(&exchange.call, ask.into()).await?;
    Answer::ok(&wire::ImportProgress::from(progress))
}

/// `import.chunk`
pub async fn import_chunk(exchange: Exchange) -> Result<Answer, Error> {
    let import_id: String = exchange.path("import_id")?;
    let offset_bytes = exchange.query::<wire::ImportChunkQuery>()?.offset_bytes;
    let lines = exchange.raw_body().to_vec();
    let done = exchange
        .platform()
        .import_chunk(&exchange.call, &import_id, offset_bytes, lines)
        .await?;
    Answer::ok(&wire::ImportChunked::from(done))
}

/// `import.finalize`
pub async fn import_finalize(exchange: Exchange) -> Result<Answer, Error> {
    let import_id: String = exchange.path("import_id")?;
    let progress = exchange.platform().import_finalize(&exchange.call, &import_id).await?;
    Answer::ok(&wire::ImportProgress::from(progress))
}

/// `account.export`
pub async fn account_export(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::ExportQuery = exchange.query()?;
    let platform = exchange.platform();
    let page = platform
        .account_export(&exchange.call, ask.realm_id.0, ask.cursor.as_deref(), ask.limit)
        .await?;
    let (lines, next_cursor) = page;
    Answer::ok(&wire::AccountExport { lines, next_cursor })
}
