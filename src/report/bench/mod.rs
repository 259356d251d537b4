//! What a bench found, for people: as text, as a page, as Markdown.

mod text;

pub use text::bench_text;
