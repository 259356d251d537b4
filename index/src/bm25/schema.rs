//! What tantivy is told of an index.

use tantivy::IndexSettings;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};

/// The name of the one field, of title and text together.
const FIELD: &str = "contents";

/// The name of the tokenizer, which is part of the schema. Only the writer has tantivy make terms.
pub(super) const TOKENIZER: &str = "raw";

/// Terms with their frequencies. Positions, stored text and tantivy's document lengths are not kept, because nothing
/// reads them. The text lies in the documents file, and the lengths file has exact lengths.
pub(super) fn schema() -> (Schema, Field) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(false);
    let field = builder.add_text_field(FIELD, TextOptions::default().set_indexing_options(indexing));
    (builder.build(), field)
}

/// tantivy's own, but for a thread that it would start for each index: libraries start none.
pub(super) fn settings() -> IndexSettings {
    IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() }
}
