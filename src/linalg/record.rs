//! The form matrices and vectors have in files: ours, whatever nalgebra does.

pub(crate) mod matrix {
    use nalgebra::DMatrix;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    struct Record {
        rows: usize,
        columns: usize,
        /// By columns.
        values: Vec<f64>,
    }

    pub(crate) fn serialize<S: Serializer>(matrix: &DMatrix<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        Record { rows: matrix.nrows(), columns: matrix.ncols(), values: matrix.as_slice().to_vec() }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DMatrix<f64>, D::Error> {
        let record = Record::deserialize(deserializer)?;
        if record.rows.checked_mul(record.columns) != Some(record.values.len()) {
            return Err(D::Error::custom("a matrix has another number of values than its shape says"));
        }
        Ok(DMatrix::from_vec(record.rows, record.columns, record.values))
    }
}

pub(crate) mod vector {
    use nalgebra::DVector;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(vector: &DVector<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        vector.as_slice().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DVector<f64>, D::Error> {
        Ok(DVector::from_vec(Vec::deserialize(deserializer)?))
    }
}
