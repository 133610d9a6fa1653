//! The BERT transformer: reading its files, and the forward pass over sequences laid end to end.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::{ModelError, Result};
use crate::kernels::Level;
use crate::kernels::attention::{KeyValues, Mask, Rows, attend};
use crate::kernels::linear::{Linear, Operand, Precision};
use crate::kernels::rows::{add, gelu, layer_norm, scale};
use crate::models::EncoderFiles;

/// The part of `config.json` that matters.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    model_type: String,
    hidden_act: String,
    pub(crate) hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) vocab_size: usize,
    layer_norm_eps: f32,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl Config {
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|error| ModelError::file(path, error))?;
        let config: Self =
            serde_json::from_slice(&text).map_err(|error| ModelError::invalid(path, error))?;
        config
            .check()
            .map_err(|reason| ModelError::invalid(path, reason))?;
        Ok(config)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let within = |name: &str, value: usize, most: usize, multiple: usize| {
            if value == 0 || value > most || !value.is_multiple_of(multiple) {
                return Err(format!(
                    "{name} is {value}, not a multiple of {multiple} up to {most}"
                ));
            }
            Ok(())
        };
        if self.model_type != "bert" || self.hidden_act != "gelu" {
            return Err(format!(
                "a {} with {} is not a bert with gelu",
                self.model_type, self.hidden_act
            ));
        }
        if self.position_embedding_type != "absolute" {
            return Err("positions are not absolute".to_owned());
        }
        within("hidden_size", self.hidden_size, 4096, 32)?;
        within("intermediate_size", self.intermediate_size, 16_384, 32)?;
        within("num_attention_heads", self.num_attention_heads, 64, 1)?;
        within("num_hidden_layers", self.num_hidden_layers, 48, 1)?;
        within(
            "max_position_embeddings",
            self.max_position_embeddings,
            8192,
            1,
        )?;
        within("vocab_size", self.vocab_size, 1 << 20, 1)?;
        if !self
            .hidden_size
            .is_multiple_of(32 * self.num_attention_heads)
        {
            return Err("a head's width is not a multiple of 32".to_owned());
        }
        Ok(())
    }
}

struct Norm {
    gain: Vec<f32>,
    bias: Vec<f32>,
}

struct Layer {
    /// Queries (with the factor 1/√head), keys and values, one beside the other.
    qkv: Linear,
    attended: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// A BERT with its weights.
pub(crate) struct Bert {
    pub(crate) config: Config,
    words: Vec<f32>,
    /// Position embeddings with the embedding of the first segment added.
    positions: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

/// Tensors of a file, taken by name and shape.
struct Tensors<'a> {
    file: &'a Path,
    tensors: SafeTensors<'a>,
    prefix: &'static str,
}

impl Tensors<'_> {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self
            .tensors
            .tensor(&name)
            .map_err(|_| ModelError::invalid(self.file, format!("has no tensor {name}")))?;
        if tensor.shape() != shape {
            let reason = format!("{name} is {:?}, not {shape:?}", tensor.shape());
            return Err(ModelError::invalid(self.file, reason));
        }
        let bytes = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
            Dtype::BF16 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16))
                .collect(),
            other => {
                let reason = format!("{name} is {other:?}, not F32 or BF16");
                return Err(ModelError::invalid(self.file, reason));
            }
        };
        if values.iter().any(|value| !value.is_finite()) {
            let reason = format!("{name} holds a value that is not finite");
            return Err(ModelError::invalid(self.file, reason));
        }
        Ok(values)
    }

    fn norm(&self, name: &str, width: usize) -> Result<Norm> {
        Ok(Norm {
            gain: self.take(&format!("{name}.weight"), &[width])?,
            bias: self.take(&format!("{name}.bias"), &[width])?,
        })
    }

    fn linear(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
        kind: (Precision, Level),
    ) -> Result<Linear> {
        let weights = self.take(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.take(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear::new(weights, inputs, bias, kind))
    }

    /// The three projections of a layer as one map, the factor of the scores moved into the queries.
    fn qkv(&self, layer: &str, config: &Config, kind: (Precision, Level)) -> Result<Linear> {
        let width = config.hidden_size;
        let factor = 1.0 / ((width / config.num_attention_heads) as f32).sqrt();
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for (part, factor) in [("query", factor), ("key", 1.0), ("value", 1.0)] {
            let name = format!("{layer}.attention.self.{part}");
            let of = |values: Vec<f32>| values.into_iter().map(move |value| value * factor);
            weights.extend(of(self.take(&format!("{name}.weight"), &[width, width])?));
            bias.extend(of(self.take(&format!("{name}.bias"), &[width])?));
        }
        Ok(Linear::new(weights, width, bias, kind))
    }

    fn layer(&self, index: usize, config: &Config, kind: (Precision, Level)) -> Result<Layer> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let layer = format!("encoder.layer.{index}");
        Ok(Layer {
            qkv: self.qkv(&layer, config, kind)?,
            attended: self.linear(
                &format!("{layer}.attention.output.dense"),
                width,
                width,
                kind,
            )?,
            attention_norm: self.norm(&format!("{layer}.attention.output.LayerNorm"), width)?,
            up: self.linear(&format!("{layer}.intermediate.dense"), inner, width, kind)?,
            down: self.linear(&format!("{layer}.output.dense"), width, inner, kind)?,
            output_norm: self.norm(&format!("{layer}.output.LayerNorm"), width)?,
        })
    }
}

/// Buffers of one thread's forward passes; they grow to the largest batch and stay.
#[derive(Default)]
pub(crate) struct Workspace {
    x: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
    more: Vec<f32>,
    row: Vec<f32>,
    operand: Operand,
    scores: Vec<f32>,
}

impl Bert {
    /// Reads configuration and weights.
    pub(crate) fn load(files: &EncoderFiles, kind: (Precision, Level)) -> Result<Self> {
        let config = Config::read(&files.config)?;
        let file = files.weights.as_path();
        let bytes = std::fs::read(file).map_err(|error| ModelError::file(file, error))?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| ModelError::invalid(file, error))?;
        let prefixed = tensors.names().iter().any(|name| name.starts_with("bert."));
        let tensors = Tensors {
            file,
            tensors,
            prefix: if prefixed { "bert." } else { "" },
        };
        let width = config.hidden_size;
        let words = tensors.take(
            "embeddings.word_embeddings.weight",
            &[config.vocab_size, width],
        )?;
        let shape = [config.max_position_embeddings, width];
        let mut positions = tensors.take("embeddings.position_embeddings.weight", &shape)?;
        let segments = tensors.take("embeddings.token_type_embeddings.weight", &[2, width])?;
        for position in positions.chunks_exact_mut(width) {
            add(Level::Portable, position, &segments[..width]);
        }
        let layers = (0..config.num_hidden_layers)
            .map(|index| tensors.layer(index, &config, kind))
            .collect::<Result<_>>()?;
        Ok(Self {
            words,
            positions,
            embedding_norm: tensors.norm("embeddings.LayerNorm", width)?,
            layers,
            config,
        })
    }

    /// The mean of each sequence's last hidden states, divided by its length: `width` values for each, in order.
    ///
    /// Sequences are token ids below `vocab_size`, 1 to `max_position_embeddings` of them.
    pub(crate) fn embed(
        &self,
        level: Level,
        sequences: &[&[u32]],
        workspace: &mut Workspace,
    ) -> Vec<Vec<f32>> {
        let width = self.config.hidden_size;
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        self.embed_words(level, sequences, workspace);
        for layer in &self.layers {
            self.attention(level, layer, &lengths, workspace);
            self.feed_forward(level, layer, workspace);
        }
        let mut rest = workspace.x.as_slice();
        lengths
            .iter()
            .map(|length| {
                let (own, after) = rest.split_at(length * width);
                rest = after;
                mean_direction(level, own, width)
            })
            .collect()
    }

    fn embed_words(&self, level: Level, sequences: &[&[u32]], workspace: &mut Workspace) {
        let width = self.config.hidden_size;
        let x = &mut workspace.x;
        x.clear();
        for sequence in sequences {
            for (token, position) in sequence.iter().zip(self.positions.chunks_exact(width)) {
                let at = x.len();
                x.extend_from_slice(&self.words[*token as usize * width..][..width]);
                add(level, &mut x[at..], position);
                self.normalise(level, &self.embedding_norm, &mut x[at..]);
            }
        }
    }

    fn normalise(&self, level: Level, norm: &Norm, x: &mut [f32]) {
        layer_norm(level, x, &norm.gain, &norm.bias, self.config.layer_norm_eps);
    }

    /// `x ← norm(x + attended(attention(x)))`.
    fn attention(&self, level: Level, layer: &Layer, lengths: &[usize], work: &mut Workspace) {
        let width = self.config.hidden_size;
        let tokens = work.x.len() / width;
        let head = width / self.config.num_attention_heads;
        load(
            level,
            &layer.qkv,
            &work.x,
            width,
            &mut work.row,
            &mut work.operand,
        );
        work.qkv.resize(tokens * 3 * width, 0.0);
        layer.qkv.apply(level, &work.operand, tokens, &mut work.qkv);
        work.attended.resize(tokens * width, 0.0);
        let mut seen = KeyValues::new(head);
        let mut first = 0;
        for &length in lengths {
            let qkv = &work.qkv[first * 3 * width..];
            for column in (0..width).step_by(head) {
                let part = |part: usize| Rows {
                    values: &qkv[part * width + column..],
                    stride: 3 * width,
                };
                seen.truncate(0);
                seen.extend(part(1), part(2), length);
                let out = (&mut work.attended[first * width + column..], width);
                let queries = (part(0), length);
                attend(level, queries, &seen, Mask::None, out, &mut work.scores);
            }
            first += length;
        }
        layer.attended.prepare(&mut work.operand, tokens);
        for (row, x) in work
            .attended
            .chunks_exact_mut(width)
            .take(tokens)
            .enumerate()
        {
            layer.attended.set(level, &mut work.operand, row, x);
        }
        work.more.resize(tokens * width, 0.0);
        layer
            .attended
            .apply(level, &work.operand, tokens, &mut work.more);
        self.merge(level, &layer.attention_norm, work);
    }

    /// `x ← norm(x + down(gelu(up(x))))`.
    fn feed_forward(&self, level: Level, layer: &Layer, work: &mut Workspace) {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let tokens = work.x.len() / width;
        load(
            level,
            &layer.up,
            &work.x,
            width,
            &mut work.row,
            &mut work.operand,
        );
        work.inner.resize(tokens * inner, 0.0);
        layer
            .up
            .apply(level, &work.operand, tokens, &mut work.inner);
        layer.down.prepare(&mut work.operand, tokens);
        for (row, x) in work.inner.chunks_exact_mut(inner).take(tokens).enumerate() {
            gelu(level, x);
            layer.down.set(level, &mut work.operand, row, x);
        }
        layer
            .down
            .apply(level, &work.operand, tokens, &mut work.more);
        self.merge(level, &layer.output_norm, work);
    }

    fn merge(&self, level: Level, norm: &Norm, work: &mut Workspace) {
        let width = self.config.hidden_size;
        let rows = work.x.chunks_exact_mut(width);
        for (x, more) in rows.zip(work.more.chunks_exact(width)) {
            add(level, x, more);
            self.normalise(level, norm, x);
        }
    }
}

/// Puts the rows of `x` into `operand`, leaving `x` as it is.
fn load(
    level: Level,
    map: &Linear,
    x: &[f32],
    width: usize,
    row: &mut Vec<f32>,
    operand: &mut Operand,
) {
    map.prepare(operand, x.len() / width);
    for (index, x) in x.chunks_exact(width).enumerate() {
        row.clear();
        row.extend_from_slice(x);
        map.set(level, operand, index, row);
    }
}

/// The mean of the rows of `x`, scaled to length 1.
fn mean_direction(level: Level, x: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0; width];
    for row in x.chunks_exact(width) {
        add(level, &mut mean, row);
    }
    normalise(&mut mean);
    mean
}

/// Scales `x` to length 1; zero stays zero.
pub(crate) fn normalise(x: &mut [f32]) {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        scale(Level::Portable, x, 1.0 / length);
    }
}
