//! What a bench found, for people: as text, as a page, as Markdown.

mod draw;
mod formats;
mod html;
mod layers;
mod markdown;
mod page;
mod systems;
mod text;
mod write;

pub use formats::{ann_csv, mteb_json, per_query_tsv};
pub use markdown::bench_markdown;
pub use page::bench_page;
pub use text::bench_text;
pub use write::write_bench;
