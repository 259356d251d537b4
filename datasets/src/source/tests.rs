use super::*;

fn read(source: &Source, empty: EmptyDocuments) -> Vec<std::result::Result<Document, String>> {
    source
        .documents(empty)
        .map(|item| item.map(|(document, _)| document).map_err(|error| error.to_string()))
        .collect()
}

/// The documents of one file, each as id, title, text, metadata.
fn documents(name: &str, content: &str) -> Vec<[String; 4]> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    crate::writer::write_records(&path, |file| Ok(file.write_all(content.as_bytes())?)).unwrap();
    let source = Source::open(&[path], FieldNames::default()).unwrap();
    read(&source, EmptyDocuments::Few)
        .into_iter()
        .map(|document| {
            let document = document.unwrap();
            [document.id, document.title, document.text, document.metadata.unwrap_or_default()]
        })
        .collect()
}

fn rows(expected: &[[&str; 4]]) -> Vec<[String; 4]> {
    expected.iter().map(|row| row.map(str::to_owned)).collect()
}

#[test]
fn files_of_each_kind() {
    let lines = "{\"id\": \"a\", \"text\": \"x\", \"n\": 1}\n\n{\"contents\": \"y\"}\n";
    let expected = rows(&[["a", "", "x", "{\"n\":1}"], ["my_notes-3", "", "y", ""]]);
    assert_eq!(documents("my notes.jsonl.gz", lines), expected);
    assert_eq!(documents("my notes.json", lines), expected);

    // A null is no text, as an empty one; so it is in tables.
    let nulls = "{\"id\": \"a\", \"title\": null, \"text\": null}\n{\"id\": \"b\", \"text\": \"y\"}\n";
    assert_eq!(documents("nulls.jsonl", nulls), rows(&[["a", "", "", ""], ["b", "", "y", ""]]));

    let list = " [{\"id\": 1, \"text\": \"x\"},\n {\"text\": \"y\", \"title\": \"t\"}]";
    assert_eq!(documents("list.json", list), rows(&[["1", "", "x", ""], ["list-2", "t", "y", ""]]));

    let csv = "id,title,text,year,zip,ok,note\n\
               a,T,\"x, \"\"y\"\"\nz\",2020,01234,true,\n\
               b,,w,2021.5,9999,False,7\n";
    assert_eq!(
        documents("t.csv", csv),
        rows(&[
            ["a", "T", "x, \"y\"\nz", "{\"year\":2020,\"zip\":\"01234\",\"ok\":true}"],
            ["b", "", "w", "{\"year\":2021.5,\"zip\":\"9999\",\"ok\":false,\"note\":7}"],
        ])
    );
    // An integer beyond 64 bits stays as it is written, a fraction is the nearest of 64 bits.
    let big = "text,key,n,x\nx,12345678901234567890123,18446744073709551615,-0.5\n";
    let fields = "{\"key\":\"12345678901234567890123\",\"n\":18446744073709551615,\"x\":-0.5}";
    assert_eq!(documents("big.csv", big), rows(&[["big-2", "", "x", fields]]));
    assert_eq!(documents("s.csv", "text;year\nx;1\n"), rows(&[["s-2", "", "x", "{\"year\":1}"]]));

    // MS MARCO's files have no header and no quotes.
    let collection = "0\t\"Quoted to begin with\n1\tanother\n";
    let expected = rows(&[["0", "", "\"Quoted to begin with", ""], ["1", "", "another", ""]]);
    assert_eq!(documents("collection.tsv", collection), expected);
    let docs = "D1\thttps://a\tTitle\tBody\n";
    assert_eq!(documents("docs.tsv", docs), rows(&[["D1", "Title", "Body", "{\"url\":\"https://a\"}"]]));
    let headed = "doc_id\ttext\n1\t\"a\tb\"\n";
    assert_eq!(documents("headed.tsv", headed), rows(&[["1", "", "a\tb", ""]]));

    assert_eq!(documents("one.md", "# Roses\nred"), rows(&[["one.md", "", "# Roses\nred", ""]]));
}

#[test]
fn folders_of_texts() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("b.txt", "\u{feff}bees".as_bytes());
    write("in it/a.md", b"apples");
    write(".git/c.txt", b"hidden");
    write("d.png", b"no text");
    let source = Source::open(&[folder.path().to_owned()], FieldNames::default()).unwrap();
    let found: Vec<_> = read(&source, EmptyDocuments::Few).into_iter().map(|item| item.unwrap()).collect();
    let pairs: Vec<_> = found.iter().map(|document| (document.id.as_str(), document.text.as_str())).collect();
    assert_eq!(pairs, [("b.txt", "bees"), ("in_it/a.md", "apples")]);

    write("b.txt", b"be\nlatin \xe9");
    let message = read(&source, EmptyDocuments::Few)[0].clone().unwrap_err();
    assert!(message.ends_with("b.txt:2: byte 7 is not valid UTF-8: convert the file to UTF-8"), "{message}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let open = |name: &str| Source::open(&[path(name)], FieldNames::default());
    let said = |name: &str| match open(name) {
        Err(error) => error.to_string(),
        Ok(source) => {
            read(&source, EmptyDocuments::Few).into_iter().find_map(|item| item.err()).unwrap_or_default()
        }
    };
    std::fs::create_dir(path("empty")).unwrap();
    assert!(said("empty").contains("has no corpus.jsonl and no text files"), "{}", said("empty"));
    std::fs::write(path("data.bin"), "x").unwrap();
    assert!(said("data.bin").contains("its name does not say what it is"), "{}", said("data.bin"));
    std::fs::write(path("t.csv"), "a,b\n1,2\n").unwrap();
    assert!(said("t.csv").contains("t.csv:1: no column is named `text`: the first line has \"a\", \"b\""));
    std::fs::write(path("r.csv"), "id,text\n1,2\n3\n").unwrap();
    assert!(
        said("r.csv").contains("r.csv:3: expected 2 fields, as in the header, found 1"),
        "{}",
        said("r.csv")
    );
    std::fs::write(path("p.parquet"), "PAR1 no").unwrap();
    let expected = if cfg!(feature = "parquet") {
        "cannot be read as Parquet"
    } else {
        "built with `--features parquet`"
    };
    assert!(said("p.parquet").contains(expected), "{}", said("p.parquet"));
    assert!(said("nowhere.csv").contains("nowhere.csv"));
}

#[test]
fn repeated_ids_and_empty_documents() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a.jsonl", "b.jsonl"].map(|name| folder.path().join(name));
    std::fs::write(&first, "{\"id\": 1, \"text\": \"x\"}\n{\"id\": 2, \"text\": \"\"}\n").unwrap();
    std::fs::write(&second, "{\"id\": 1, \"text\": \"y\"}\n").unwrap();
    let both = Source::open(&[first.clone(), second], FieldNames::default()).unwrap();
    let message = read(&both, EmptyDocuments::Few)[2].clone().unwrap_err();
    assert!(
        message.contains("b.jsonl:1: duplicate id \"1\", first used in ") && message.ends_with("a.jsonl:1")
    );
    assert_eq!(
        both.documents(EmptyDocuments::Few).with_repeated_ids().filter(|item| item.is_ok()).count(),
        3
    );

    let one = Source::open(std::slice::from_ref(&first), FieldNames::default()).unwrap();
    let mut documents = one.documents(EmptyDocuments::Few);
    assert!(documents.by_ref().all(|document| document.is_ok()));
    assert_eq!((documents.num_documents(), documents.num_empty()), (2, 1));
    let refused = read(&one, EmptyDocuments::Refused)[1].clone().unwrap_err();
    assert!(refused.ends_with("a.jsonl:2: \"2\" has no text"), "{refused}");

    std::fs::write(
        &first,
        "{\"id\": 1, \"text\": \"x\"}\n{\"id\": 2, \"text\": \"\"}\n{\"id\": 3, \"text\": \" \"}\n",
    )
    .unwrap();
    let all = read(&one, EmptyDocuments::Few);
    assert_eq!(all.len(), 4);
    assert!(all[3].clone().unwrap_err().contains("2 of the first 3 documents have neither title nor text"));
    assert_eq!(read(&one, EmptyDocuments::Any).len(), 3);
}

#[test]
fn tables_have_vectors_in_a_column_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, content: &str, field: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let names = FieldNames { vector: Some(field.to_owned()), ..FieldNames::default() };
        let source = Source::open(&[path], names).map_err(|error| error.to_string())?;
        let documents = source.documents(EmptyDocuments::Few);
        documents
            .map(|item| item.map_err(|error| error.to_string()))
            .collect::<std::result::Result<Vec<_>, _>>()
    };
    let table = "id,text,v,year\na,x,\"[1,2.5]\",2020\nb,y,\"[0, -1]\",2021\n";
    for (name, content) in [("v.csv", table.to_owned()), ("v.tsv", "id\ttext\tv\nc\tz\t[1,2.5]\n".to_owned())]
    {
        let documents = read(name, &content, "v").unwrap();
        assert_eq!(documents[0].1, Some(vec![1.0, 2.5]), "{name}");
        assert!(!documents[0].0.metadata.as_deref().unwrap_or_default().contains("v"), "{name}");
    }
    let error = read("v.csv", table, "nope").unwrap_err();
    assert!(error.ends_with("v.csv:1: no field `nope`: the fields are id, text, v, year"), "{error}");
    let error = read("w.csv", "id,text,v\na,x,\"[1,2\"\n", "v").unwrap_err();
    assert!(error.contains("w.csv:2: `v` is no vector"), "{error}");
}
