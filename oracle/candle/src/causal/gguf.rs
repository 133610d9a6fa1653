//! Reading a GGUF file: its metadata, and its tensors row by row in whatever quantisation they have.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};

use crate::error::{ModelError, Result};
use crate::kernels::int8::Int8Weights;

/// Rows turned into numbers at a time: the largest matrix would need gigabytes at once.
const ROWS: usize = 1024;

/// An open GGUF file.
pub(crate) struct Gguf {
    path: PathBuf,
    content: Content,
    file: BufReader<File>,
}

impl Gguf {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| ModelError::file(path, error))?;
        let mut file = BufReader::new(file);
        let content = Content::read(&mut file).map_err(|error| ModelError::invalid(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            content,
            file,
        })
    }

    pub(crate) fn invalid(&self, reason: impl std::fmt::Display) -> ModelError {
        ModelError::invalid(&self.path, reason)
    }

    fn value(&self, key: &str) -> Result<&Value> {
        let value = self.content.metadata.get(key);
        value.ok_or_else(|| self.invalid(format!("has no {key}")))
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        let text = self.value(key)?.to_string();
        text.map(String::as_str)
            .map_err(|error| self.invalid(error))
    }

    /// A count between 1 and `most`.
    pub(crate) fn count(&self, key: &str, most: usize) -> Result<usize> {
        let value = self.value(key)?;
        let count = match value {
            Value::U32(value) => u64::from(*value),
            Value::U64(value) => *value,
            Value::I32(value) => u64::try_from(*value).unwrap_or(0),
            other => return Err(self.invalid(format!("{key} is {other:?}, not a count"))),
        };
        if count == 0 || count > most as u64 {
            return Err(self.invalid(format!("{key} is {count}, not 1 to {most}")));
        }
        Ok(count as usize)
    }

    /// The number of a token.
    pub(crate) fn id(&self, key: &str) -> Result<u32> {
        let id = self.value(key)?.to_u32();
        id.map_err(|error| self.invalid(error))
    }

    pub(crate) fn number(&self, key: &str) -> Result<f32> {
        let number = self.value(key)?.to_f32();
        let number = number.map_err(|error| self.invalid(error))?;
        if number.is_finite() {
            Ok(number)
        } else {
            Err(self.invalid(format!("{key} is not a number")))
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.content.metadata.contains_key(key)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.content.metadata.get(key), Some(Value::Bool(true)))
    }

    /// Every element of an array, as `read` takes it.
    pub(crate) fn array<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let values = self.value(key)?.to_vec();
        let values = values.map_err(|error| self.invalid(error))?;
        values
            .iter()
            .map(|value| read(value).ok_or_else(|| self.invalid(format!("{key} holds {value:?}"))))
            .collect()
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// The values of a vector of `width` values.
    pub(crate) fn vector(&mut self, name: &str, width: usize) -> Result<Vec<f32>> {
        let (info, _) = self.info(name, &[width])?;
        self.values(&info)
    }

    fn info(&self, name: &str, shape: &[usize]) -> Result<(TensorInfo, u64)> {
        let info = self.content.tensor_infos.get(name);
        let info = info.ok_or_else(|| self.invalid(format!("has no tensor {name}")))?;
        if info.shape.dims() != shape {
            let found = info.shape.dims();
            return Err(self.invalid(format!("{name} is {found:?}, not {shape:?}")));
        }
        let (block, size) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        let inputs = shape[shape.len() - 1];
        if !inputs.is_multiple_of(block) {
            return Err(self.invalid(format!("a row of {name} is not whole blocks")));
        }
        let copy = TensorInfo {
            ggml_dtype: info.ggml_dtype,
            shape: info.shape.clone(),
            offset: info.offset,
        };
        Ok((copy, (inputs / block * size) as u64))
    }

    fn values(&mut self, info: &TensorInfo) -> Result<Vec<f32>> {
        let start = self.content.tensor_data_offset;
        let values = info
            .read(&mut self.file, start, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu))
            .and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>());
        let values = values.map_err(|error| self.invalid(error))?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(self.invalid("a tensor holds a value that is not finite"));
        }
        Ok(values)
    }

    /// The matrices `names`, one below the other, in 8 bits: `outputs` rows of each, of `inputs` values.
    pub(crate) fn matrix(&mut self, names: &[(&str, usize)], inputs: usize) -> Result<Int8Weights> {
        let total = names.iter().map(|(_, outputs)| outputs).sum();
        let mut infos = Vec::with_capacity(names.len());
        for (name, outputs) in names {
            let (info, row_bytes) = self.info(name, &[*outputs, inputs])?;
            infos.push((info, row_bytes, *outputs));
        }
        let mut chunks = Vec::new();
        for (info, row_bytes, outputs) in &infos {
            for first in (0..*outputs).step_by(ROWS) {
                chunks.push(TensorInfo {
                    ggml_dtype: info.ggml_dtype,
                    shape: (ROWS.min(outputs - first), inputs).into(),
                    offset: info.offset + first as u64 * row_bytes,
                });
            }
        }
        let mut weights = Int8Weights::empty(inputs, total);
        let mut output = 0;
        for chunk in &chunks {
            let mut values = self.values(chunk)?;
            for row in values.chunks_exact_mut(inputs) {
                weights.set_row(output, row);
                output += 1;
            }
        }
        Ok(weights)
    }
}
