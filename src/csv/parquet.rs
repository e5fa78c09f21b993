//! A Parquet file as the CSV text of its table, so that every value means what it means in a CSV file, and no rule is written twice.

use crate::error::{Error, Result};
use ::parquet::basic::{ConvertedType, LogicalType, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result as Decoded};
use ::parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;
use bytes::Bytes;
use rayon::prelude::*;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

/// Rows made into text at a time.
const ROWS: usize = 8192;

/// The text of a table, made as it is read: in memory are some rows of it and a page of every column.
pub(super) struct ParquetText {
    reader: SerializedFileReader<Shared>,
    columns: Vec<Column>,
    /// Row groups begun, and rows to come of the latest.
    groups: usize,
    left: usize,
    text: Vec<u8>,
    at: usize,
}

/// A file of which several columns are read at a time, each where it is: handles of one file have one place.
struct Shared {
    file: Arc<Mutex<File>>,
    length: u64,
}

struct Place {
    file: Arc<Mutex<File>>,
    at: u64,
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Place>;

    fn get_read(&self, start: u64) -> Decoded<Self::T> {
        Ok(BufReader::new(Place { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Decoded<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF("a page lies beyond its end".into()));
        }
        let mut bytes = vec![0; length];
        Place { file: Arc::clone(&self.file), at: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().map_err(|_| io::Error::other("another thread failed"))?;
        file.seek(SeekFrom::Start(self.at))?;
        let count = file.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A column, of which nothing is read where it is not needed.
struct Column {
    is_needed: bool,
    is_unsigned: bool,
    reader: Option<ColumnReader>,
    /// Cells of some rows, one after another, and where they end.
    cells: Vec<u8>,
    ends: Vec<usize>,
}

impl ParquetText {
    /// Of a file whose columns are all needed or only some; cells of the others are empty.
    pub(super) fn new(file: File, name: &str, only: Option<&[&str]>) -> Result<Self> {
        let refused = |problem: String| Error::Table { source_name: name.into(), problem };
        let length = file.metadata().map_err(|error| refused(error.to_string()))?.len();
        let reader = SerializedFileReader::new(Shared { file: Arc::new(Mutex::new(file)), length })
            .map_err(|error| refused(format!("it begins like a Parquet file but is none that is whole ({error}); write it again")))?;
        let (mut columns, mut text) = (Vec::new(), Vec::new());
        for column in reader.metadata().file_metadata().schema_descr().columns() {
            let (path, own) = (column.path().parts(), column.path().string());
            let is_needed =
                only.is_none_or(|only| only.contains(&own.as_str()) || path.first().is_some_and(|root| only.contains(&root.as_str())));
            if let Some(kind) = odd_kind(column).filter(|_| is_needed) {
                return Err(refused(format!(
                    "column '{}' holds {kind}, which are neither numbers nor texts; save it as one of these, or leave it out of --features",
                    path.first().unwrap_or(&own)
                )));
            }
            separate(&mut text, columns.len());
            write_text(&mut text, own.as_bytes());
            columns.push(Column { is_needed, is_unsigned: is_unsigned(column), reader: None, cells: Vec::new(), ends: Vec::new() });
        }
        text.push(b'\n');
        Ok(ParquetText { reader, columns, groups: 0, left: 0, text, at: 0 })
    }

    /// Makes the text of the next rows, none at the end.
    fn go_on(&mut self) -> Decoded<()> {
        self.at = 0;
        self.text.clear();
        while self.left == 0 {
            if self.groups == self.reader.num_row_groups() {
                return Ok(());
            }
            let group = self.reader.get_row_group(self.groups)?;
            self.left = usize::try_from(group.metadata().num_rows())?;
            for (k, column) in self.columns.iter_mut().enumerate().filter(|(_, column)| column.is_needed) {
                column.reader = Some(group.get_column_reader(k)?);
            }
            self.groups += 1;
        }
        let count = self.left.min(ROWS);
        self.columns.par_iter_mut().try_for_each(|column| column.read(count))?;
        for row in 0..count {
            let begin = self.text.len();
            for (k, column) in self.columns.iter().enumerate() {
                separate(&mut self.text, k);
                self.text.extend_from_slice(column.cell(row));
            }
            if self.text.len() == begin {
                // A line of nothing would be no row.
                self.text.extend_from_slice(b"\"\"");
            }
            self.text.push(b'\n');
        }
        self.left -= count;
        Ok(())
    }
}

impl Read for ParquetText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.go_on().map_err(|error| io::Error::other(format!("the Parquet file is damaged: {error}")))?;
        }
        let count = buffer.len().min(self.text.len() - self.at);
        buffer[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Column {
    fn cell(&self, row: usize) -> &[u8] {
        match self.ends.get(row) {
            Some(end) => &self.cells[if row == 0 { 0 } else { self.ends[row - 1] }..*end],
            None => b"",
        }
    }

    /// Takes up the next rows.
    fn read(&mut self, count: usize) -> Decoded<()> {
        self.cells.clear();
        self.ends.clear();
        let (Some(reader), is_unsigned) = (&mut self.reader, self.is_unsigned) else { return Ok(()) };
        let cells = (&mut self.cells, &mut self.ends);
        match reader {
            ColumnReader::BoolColumnReader(reader) => read(reader, count, cells, |value, text| write!(text, "{value}")),
            ColumnReader::Int32ColumnReader(reader) if is_unsigned => {
                read(reader, count, cells, |value, text| write!(text, "{}", *value as u32))
            }
            ColumnReader::Int32ColumnReader(reader) => read(reader, count, cells, |value, text| write!(text, "{value}")),
            ColumnReader::Int64ColumnReader(reader) if is_unsigned => {
                read(reader, count, cells, |value, text| write!(text, "{}", *value as u64))
            }
            ColumnReader::Int64ColumnReader(reader) => read(reader, count, cells, |value, text| write!(text, "{value}")),
            ColumnReader::FloatColumnReader(reader) => read(reader, count, cells, |value, text| write!(text, "{value:?}")),
            ColumnReader::DoubleColumnReader(reader) => read(reader, count, cells, |value, text| write!(text, "{value:?}")),
            ColumnReader::ByteArrayColumnReader(reader) => read(reader, count, cells, |value, text| {
                write_text(text, value.data());
                Ok(())
            }),
            _ => Err(ParquetError::General("a column has another type than the file says".into())),
        }
    }
}

/// Writes the next cells of a column; one that is null is empty.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    (cells, ends): (&mut Vec<u8>, &mut Vec<usize>),
    write: impl Fn(&T::T, &mut Vec<u8>) -> io::Result<()>,
) -> Decoded<()> {
    let (mut values, mut levels, mut rows) = (Vec::with_capacity(count), Vec::new(), 0);
    while rows < count {
        let (more, _, _) = reader.read_records(count - rows, Some(&mut levels), None, &mut values)?;
        if more == 0 {
            return Err(ParquetError::General("a column has fewer rows than the others".into()));
        }
        rows += more;
    }
    let mut values = values.iter();
    for row in 0..count {
        if levels.get(row).is_none_or(|level| *level > 0)
            && let Some(value) = values.next()
        {
            write(value, cells)?;
        }
        ends.push(cells.len());
    }
    Ok(())
}

fn separate(text: &mut Vec<u8>, column: usize) {
    if column > 0 {
        text.push(b',');
    }
}

/// A text as a cell, in quotation marks where it has to be.
fn write_text(cells: &mut Vec<u8>, text: &[u8]) {
    if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        return cells.extend_from_slice(text);
    }
    cells.push(b'"');
    for byte in text {
        cells.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
    }
    cells.push(b'"');
}

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    let old =
        matches!(column.converted_type(), ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64);
    match column.logical_type_ref() {
        Some(LogicalType::Integer(kind)) => !kind.is_signed,
        _ => old,
    }
}

/// What a column holds, where it is neither numbers nor texts.
fn odd_kind(column: &ColumnDescriptor) -> Option<&'static str> {
    if column.path().parts().len() > 1 || column.max_rep_level() > 0 {
        return Some("lists or records");
    }
    match (column.physical_type(), column.logical_type_ref(), column.converted_type()) {
        (Type::INT96, ..) => Some("timestamps"),
        (_, Some(LogicalType::Timestamp(_)), _) | (_, None, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS) => {
            Some("timestamps")
        }
        (_, Some(LogicalType::Date), _) | (_, None, ConvertedType::DATE) => Some("dates"),
        (_, Some(LogicalType::Time(_)), _) | (_, None, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => Some("times"),
        (_, Some(LogicalType::Decimal(_)), _) | (_, None, ConvertedType::DECIMAL) => Some("decimals"),
        (Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE, ..) => None,
        (Type::BYTE_ARRAY, Some(LogicalType::String | LogicalType::Enum), _) => None,
        (Type::BYTE_ARRAY, None, ConvertedType::UTF8 | ConvertedType::ENUM) => None,
        _ => Some("bytes"),
    }
}
