//! Parquet files mean what the same table means as CSV.
#![cfg(feature = "parquet")]

#[path = "common/command.rs"]
mod command;

use cognate::csv::{Columns, open, read, sum};
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// A cell; the schema says of which type.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

fn texts(cells: &[&str]) -> Vec<Cell> {
    cells.iter().map(|text| Cell::Text((*text).into())).collect()
}

/// Writes columns under a schema, so many rows a row group.
fn write(path: &Path, schema: &str, columns: &[Vec<Cell>], group: usize, properties: WriterProperties) {
    let schema = Arc::new(parse_message_type(&format!("message table {{ {schema} }}")).unwrap());
    let mut file = SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for begin in (0..columns[0].len()).step_by(group) {
        let mut rows = file.next_row_group().unwrap();
        for column in columns {
            let cells = &column[begin..column.len().min(begin + group)];
            let levels: Vec<i16> = cells.iter().map(|cell| i16::from(!matches!(cell, Cell::Null))).collect();
            let int = |cell: &Cell| if let Cell::Int(value) = cell { Some(*value) } else { None };
            let float = |cell: &Cell| if let Cell::Float(value) = cell { Some(*value) } else { None };
            let mut writer = rows.next_column().unwrap().unwrap();
            let levels = Some(levels.as_slice());
            match writer.untyped() {
                ColumnWriter::BoolColumnWriter(writer) => {
                    let values: Vec<bool> =
                        cells.iter().filter_map(|cell| if let Cell::Bool(value) = cell { Some(*value) } else { None }).collect();
                    writer.write_batch(&values, levels, None).unwrap();
                }
                ColumnWriter::Int32ColumnWriter(writer) => {
                    let values: Vec<i32> = cells.iter().filter_map(int).map(|value| value as i32).collect();
                    writer.write_batch(&values, levels, None).unwrap();
                }
                ColumnWriter::Int64ColumnWriter(writer) => {
                    writer.write_batch(&cells.iter().filter_map(int).collect::<Vec<_>>(), levels, None).unwrap();
                }
                ColumnWriter::FloatColumnWriter(writer) => {
                    let values: Vec<f32> = cells.iter().filter_map(float).map(|value| value as f32).collect();
                    writer.write_batch(&values, levels, None).unwrap();
                }
                ColumnWriter::DoubleColumnWriter(writer) => {
                    writer.write_batch(&cells.iter().filter_map(float).collect::<Vec<_>>(), levels, None).unwrap();
                }
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let text = |cell: &Cell| if let Cell::Text(text) = cell { Some(ByteArray::from(text.as_str())) } else { None };
                    writer.write_batch(&cells.iter().filter_map(text).collect::<Vec<_>>(), levels, None).unwrap();
                }
                _ => panic!("no such columns are written here"),
            };
            writer.close().unwrap();
        }
        rows.close().unwrap();
    }
    file.close().unwrap();
}

fn plain() -> WriterProperties {
    WriterProperties::builder().build()
}

const NUMBERS: &str = "OPTIONAL INT64 site; OPTIONAL DOUBLE x; OPTIONAL DOUBLE y; OPTIONAL DOUBLE z;";

/// Ragged tasks on two features, and the same as CSV.
fn numbers(rows: usize) -> (Vec<Vec<Cell>>, String) {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut columns, mut text) = (vec![Vec::new(); 4], "site,x,y,z\n".to_string());
    for i in 0..rows {
        let task = (i * i + i / 3) % 17;
        let (x, z): (f64, f64) = (random.random_range(-2.0..2.0), random.random_range(0.0..3e-7));
        let y = task as f64 * 0.3 + (1.0 + 0.1 * task as f64) * x - z + random.random_range(-0.6..0.6);
        for (column, cell) in columns.iter_mut().zip([Cell::Int(task as i64), Cell::Float(x), Cell::Float(y), Cell::Float(z)]) {
            column.push(cell);
        }
        let _ = writeln!(text, "{task},{x},{y},{z}");
    }
    (columns, text)
}

fn cognate(folder: &Path, arguments: &[&str]) -> String {
    let run = command::cognate(folder, arguments);
    assert_eq!(run.status, 0, "{arguments:?}: {}", run.err);
    run.out
}

#[test]
fn a_fit_is_that_of_the_same_table_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let (columns, text) = numbers(900);
    std::fs::write(folder.path().join("t.csv"), &text).unwrap();
    let file = |name: &str| folder.path().join(name);
    let packed = |compression| WriterProperties::builder().set_compression(compression).build();
    write(&file("t.parquet"), NUMBERS, &columns, 250, plain());
    write(&file("snappy.parquet"), NUMBERS, &columns, 900, packed(Compression::SNAPPY));
    write(&file("zstd"), &NUMBERS.replace("OPTIONAL", "REQUIRED"), &columns, 100, packed(Compression::ZSTD(Default::default())));
    let fit = |data: &str, model: &str| {
        let asked = ["fit", data, "--task", "site", "--target", "y", "--format", "json", "--model", model];
        cognate(folder.path(), &[&asked[..], &["--structure", "exchangeable"]].concat())
    };
    let expected = fit("t.csv", "csv.cognate");
    for data in ["t.parquet", "snappy.parquet", "zstd"] {
        assert_eq!(fit(data, "parquet.cognate"), expected, "{data}");
        let sums = |data: &str, output: &str| {
            cognate(folder.path(), &["statistics", data, "--task", "site", "--target", "y", "-o", output]);
            std::fs::read(file(output)).unwrap()
        };
        assert_eq!(sums(data, "parquet.sums"), sums("t.csv", "csv.sums"), "{data}");
        let predicted = |data: &str| cognate(folder.path(), &["predict", "parquet.cognate", data]);
        assert_eq!(predicted(data), predicted("t.csv"), "{data}");
    }
    let family =
        |data: &str| cognate(folder.path(), &["fit", data, "--task", "site", "--target", "y", "--family", "student", "--format", "json"]);
    assert_eq!(family("t.parquet"), family("t.csv"));
    let compared = |data: &str| {
        let asked = ["compare", data, "--task", "site", "--target", "y", "--structures", "pooled,exchangeable", "--format", "json"];
        let mut found: serde_json::Value = serde_json::from_str(&cognate(folder.path(), &asked)).unwrap();
        found["rungs"].as_array_mut().unwrap().iter_mut().for_each(|rung| rung["seconds"] = 0.into());
        for key in ["command", "command_of_simplest"] {
            found[key] = found[key].as_str().unwrap().replace(data, "t").into();
        }
        found
    };
    assert_eq!(compared("t.parquet"), compared("t.csv"));
}

#[test]
fn sums_of_many_rows_are_those_of_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let (columns, text) = numbers(30_000);
    write(&path, NUMBERS, &columns, 1_700, plain());
    let asked = Columns { task: "site".into(), target: "y".into(), ..Columns::default() };
    let expected = sum(text.as_bytes(), &asked).unwrap().tasks;
    assert_eq!(expected.rows(), 30_000);
    // Columns are read by several threads at a time, and in another order each time.
    for threads in [1, 2, 3, 4, 4, 4, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| sum(open(&path).unwrap(), &asked)).unwrap().tasks, expected);
    }
}

/// Nulls, texts with and without a dictionary, truth values, unsigned and short numbers.
#[test]
fn every_value_means_what_it_means_in_a_csv_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let schema = "OPTIONAL BYTE_ARRAY site (UTF8); OPTIONAL BYTE_ARRAY kind (STRING); OPTIONAL BOOLEAN open; OPTIONAL INT32 count (UINT_32); \
                  OPTIONAL FLOAT short; OPTIONAL DOUBLE y;";
    let columns = vec![
        texts(&["a", "a, \"b\"", "a", "c\nd", "a", "a, \"b\"", "a", " a "]),
        [texts(&["red", "blue", "red", "green"]), vec![Cell::Null], texts(&["blue", "NA", "red"])].concat(),
        [true, false, false, true, true, false, true, true].map(Cell::Bool).to_vec(),
        [1, 2, 4_294_967_295, 0, 5, 6, 7, 8].map(Cell::Int).to_vec(),
        [0.1, 1e-9, 3.0, -2.5, 0.25, 1e20, 0.7, 1.0].map(Cell::Float).to_vec(),
        [vec![Cell::Float(1.5), Cell::Null, Cell::Float(f64::NAN)], [2.0, 3.0, 4.0, 5.0, 1e300 * 1e-299].map(Cell::Float).to_vec()]
            .concat(),
    ];
    let text = "site,kind,open,count,short,y\na,red,true,1,0.1,1.5\n\"a, \"\"b\"\"\",blue,false,2,1e-9,\na,red,false,4294967295,3.0,NaN\n\
                \"c\nd\",green,true,0,-2.5,2\na,,true,5,0.25,3\n\"a, \"\"b\"\"\",blue,false,6,1e20,4\na,NA,true,7,0.7,5\n a ,red,true,8,1,10\n";
    for properties in [plain(), WriterProperties::builder().set_dictionary_enabled(false).build()] {
        write(&path, schema, &columns, 3, properties);
        for drop_missing in [true, false] {
            let asked = Columns { task: "site".into(), target: "y".into(), drop_missing, ..Columns::default() };
            match (read(open(&path).unwrap(), "t", &asked), read(text.as_bytes(), "t", &asked)) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.schema, expected.schema);
                    assert_eq!((found.missing_targets, found.dropped, found.empty_tasks), (2, 2, expected.empty_tasks));
                    assert_eq!(found.rows.tasks(&found.design), expected.rows.tasks(&expected.design));
                }
                (Err(found), Err(expected)) => assert_eq!(found.to_string(), expected.to_string()),
                (found, expected) => panic!("{found:?}, {expected:?}"),
            }
        }
    }
}

#[test]
fn what_is_neither_number_nor_text_is_refused_by_name_where_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let (mut columns, text) = numbers(200);
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    columns.push((0..200).map(Cell::Int).collect());
    let fit = |data: &str, more: &[&str]| {
        let asked = ["fit", data, "--task", "site", "--target", "y", "--structure", "pooled", "--format", "json"];
        command::cognate(folder.path(), &[&asked[..], more].concat())
    };
    for (column, kind) in [
        ("OPTIONAL INT32 odd (DATE);", "dates"),
        ("OPTIONAL INT64 odd (TIMESTAMP_MICROS);", "timestamps"),
        ("OPTIONAL INT64 odd (DECIMAL(10, 2));", "decimals"),
        ("OPTIONAL GROUP odd { OPTIONAL INT64 inside; }", "lists or records"),
    ] {
        if column.contains("GROUP") {
            let records = columns[4].iter().map(|_| Cell::Null).collect();
            write(&path, &format!("{NUMBERS} {column}"), &[&columns[..4], &[records]].concat(), 100, plain());
        } else {
            write(&path, &format!("{NUMBERS} {column}"), &columns, 100, plain());
        }
        let refused = fit("t.parquet", &[]);
        assert!(refused.status == 1 && refused.err.contains("'odd'") && refused.err.contains(kind), "{}", refused.err);
        assert_eq!(fit("t.parquet", &["--features", "x,z"]).out, fit("t.csv", &[]).out);
    }
    let misspelt = fit("t.parquet", &["--features", "x,zz"]);
    assert!(misspelt.status == 1 && misspelt.err.contains("'zz'") && misspelt.err.contains("site, x, y, z"), "{}", misspelt.err);
}

#[test]
fn what_is_not_whole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, NUMBERS, &numbers(400).0, 150, plain());
    let whole = std::fs::read(&path).unwrap();
    let fit = || command::cognate(folder.path(), &["fit", "t.parquet", "--task", "site", "--target", "y"]);
    for length in [5, 12, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let run = fit();
        assert!(
            run.status == 1 && run.out.is_empty() && run.err.contains("t.parquet") && run.err.contains("write it again"),
            "{length}: {}",
            run.err
        );
    }
    // The pages of the first columns overwritten.
    let mut damaged = whole.clone();
    damaged[4..whole.len() / 3].fill(0xff);
    std::fs::write(&path, &damaged).unwrap();
    let run = fit();
    assert!(run.status == 1 && run.out.is_empty() && run.err.contains("damaged"), "{}", run.err);
}
