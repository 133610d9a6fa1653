//! A tiny model of random weights takes the same path as a real one; a real one is tried where it is installed.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use tempfile::TempDir;

use super::*;
use crate::kernels::check::{levels, noise};
use crate::models::ModelSource;

const WIDTH: usize = 64;
const INNER: usize = 96;
const HEADS: usize = 2;
const LAYERS: usize = 2;
const WORDS: [&str; 8] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "b", "c", "d"];
const POSITIONS: usize = 40;

struct Tiny {
    folder: TempDir,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Names and shapes of the tensors, with about what they are in a trained model.
fn tensors() -> HashMap<String, (Vec<usize>, Vec<f32>)> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        (
            "embeddings.word_embeddings.weight".to_owned(),
            vec![WORDS.len(), WIDTH],
        ),
        (
            "embeddings.position_embeddings.weight".to_owned(),
            vec![POSITIONS, WIDTH],
        ),
        (
            "embeddings.token_type_embeddings.weight".to_owned(),
            vec![2, WIDTH],
        ),
    ];
    let mut norm = |name: String| {
        shapes.push((format!("{name}.weight"), vec![WIDTH]));
        shapes.push((format!("{name}.bias"), vec![WIDTH]));
    };
    norm("embeddings.LayerNorm".to_owned());
    for layer in 0..LAYERS {
        norm(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norm(format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    for layer in 0..LAYERS {
        for (name, outputs, inputs) in [
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", INNER, WIDTH),
            ("output.dense", WIDTH, INNER),
        ] {
            let name = format!("encoder.layer.{layer}.{name}");
            shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
            shapes.push((format!("{name}.bias"), vec![outputs]));
        }
    }
    let make = |(seed, (name, shape)): (usize, (String, Vec<usize>))| {
        let mut values = noise(seed as u64 + 1, shape.iter().product());
        let is_gain = name.contains("LayerNorm.weight");
        for value in &mut values {
            *value = if is_gain {
                1.0 + 0.1 * *value
            } else {
                0.2 * *value
            };
        }
        (name, (shape, values))
    };
    shapes.into_iter().enumerate().map(make).collect()
}

fn tiny() -> Tiny {
    let folder = tempfile::tempdir().unwrap();
    let tensors = tensors();
    write_weights(&folder.path().join("model.safetensors"), &tensors);
    let config = serde_json::json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "max_position_embeddings": POSITIONS,
        "vocab_size": WORDS.len(), "layer_norm_eps": 1e-12,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let vocabulary: HashMap<&str, usize> = WORDS
        .iter()
        .enumerate()
        .map(|(id, word)| (*word, id))
        .collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    Tiny { folder, tensors }
}

fn write_weights(path: &Path, tensors: &HashMap<String, (Vec<usize>, Vec<f32>)>) {
    let bytes: HashMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, (shape, _))| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), &bytes[name]);
        (name.clone(), view.unwrap())
    });
    let whole = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    std::fs::write(path, whole).unwrap();
}

impl Tiny {
    fn encoder(&self, options: EncoderOptions) -> Result<Encoder> {
        let source = ModelSource::Folder(self.folder.path().to_owned());
        Encoder::load(&source.encoder_files()?, options)
    }

    fn tensor(&self, name: &str) -> Vec<f64> {
        self.tensors[name]
            .1
            .iter()
            .map(|value| f64::from(*value))
            .collect()
    }

    /// The network in double precision, written as its definition reads.
    fn exact(&self, tokens: &[u32]) -> Vec<f64> {
        let rows = |values: &[f64], row: usize| values[row * WIDTH..][..WIDTH].to_vec();
        let words = self.tensor("embeddings.word_embeddings.weight");
        let positions = self.tensor("embeddings.position_embeddings.weight");
        let segment = self.tensor("embeddings.token_type_embeddings.weight");
        let mut x: Vec<Vec<f64>> = tokens
            .iter()
            .enumerate()
            .map(|(at, token)| {
                let sum = plus(&rows(&words, *token as usize), &rows(&positions, at));
                self.norm("embeddings.LayerNorm", &plus(&sum, &rows(&segment, 0)))
            })
            .collect();
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let map = |part: &str, x: &[Vec<f64>]| self.map(&name(part), x);
            let [q, k, v] =
                ["query", "key", "value"].map(|p| map(&format!("attention.self.{p}"), &x));
            let attended = map("attention.output.dense", &attend(&q, &k, &v));
            x = self.norms(&name("attention.output.LayerNorm"), &x, &attended);
            let mut inner = map("intermediate.dense", &x);
            inner.iter_mut().flatten().for_each(|x| *x *= normal(*x));
            let out = map("output.dense", &inner);
            x = self.norms(&name("output.LayerNorm"), &x, &out);
        }
        let mut mean = vec![0.0; WIDTH];
        x.iter().for_each(|x| mean = plus(&mean, x));
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
        mean.iter().map(|x| x / length).collect()
    }

    fn norms(&self, name: &str, x: &[Vec<f64>], more: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let pairs = x.iter().zip(more);
        pairs
            .map(|(x, more)| self.norm(name, &plus(x, more)))
            .collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (gain, bias) = (
            self.tensor(&format!("{name}.weight")),
            self.tensor(&format!("{name}.bias")),
        );
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let spread = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let of = |(at, x): (usize, &f64)| (x - mean) / spread.sqrt() * gain[at] + bias[at];
        x.iter().enumerate().map(of).collect()
    }

    fn map(&self, name: &str, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (weights, bias) = (
            self.tensor(&format!("{name}.weight")),
            self.tensor(&format!("{name}.bias")),
        );
        let one = |x: &Vec<f64>| {
            let rows = weights.chunks_exact(x.len()).zip(&bias);
            rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>())
                .collect()
        };
        x.iter().map(one).collect()
    }
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn attend(q: &[Vec<f64>], k: &[Vec<f64>], v: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let head = WIDTH / HEADS;
    let one = |q: &Vec<f64>| {
        let heads = (0..HEADS).flat_map(|h| {
            let own = h * head..(h + 1) * head;
            let score = |k: &Vec<f64>| -> f64 {
                own.clone().map(|d| q[d] * k[d]).sum::<f64>() / (head as f64).sqrt()
            };
            let weights: Vec<f64> = k.iter().map(|k| score(k).exp()).collect();
            let total: f64 = weights.iter().sum();
            own.clone()
                .map(|d| weights.iter().zip(v).map(|(w, v)| w * v[d]).sum::<f64>() / total)
                .collect::<Vec<f64>>()
        });
        heads.collect()
    };
    q.iter().map(one).collect()
}

/// Φ by Simpson's rule.
fn normal(x: f64) -> f64 {
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let width = x / 400.0;
    let sum: f64 = (0..400)
        .map(|i| f64::from(i) * width)
        .map(|at| density(at) + 4.0 * density(at + width / 2.0) + density(at + width))
        .sum();
    0.5 + sum * width / 6.0
}

fn options(precision: Precision) -> EncoderOptions {
    EncoderOptions {
        precision: Some(precision),
        window: 20,
        overlap: 6,
        threads: 2,
        ..EncoderOptions::default()
    }
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
}

#[test]
fn both_precisions_compute_the_network_at_every_level() {
    let tiny = tiny();
    let sequences: Vec<Vec<u32>> = vec![
        vec![1, 4, 5, 6, 7, 2],
        vec![1, 2],
        (0..POSITIONS as u32).map(|at| 1 + at * 5 % 7).collect(),
    ];
    let exact: Vec<Vec<f64>> = sequences.iter().map(|tokens| tiny.exact(tokens)).collect();
    for level in levels() {
        for (precision, least) in [(Precision::F32, 0.999_999), (Precision::Int8, 0.998)] {
            let options = EncoderOptions {
                level,
                ..options(precision)
            };
            let found = tiny
                .encoder(options)
                .unwrap()
                .embed_tokens(&sequences)
                .unwrap();
            for (found, exact) in found.iter().zip(&exact) {
                let same = cosine(found, exact);
                assert!(same > least, "{level:?} {precision:?}: {same}");
            }
        }
    }
}

#[test]
fn a_text_has_one_embedding_whatever_it_is_batched_with() {
    let tiny = tiny();
    let encoder = tiny.encoder(options(Precision::Int8)).unwrap();
    let texts: Vec<String> = (0..60)
        .map(|n| "a b c d a a c ".repeat(1 + n % 7))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = encoder.embed(&texts).unwrap();
    for (text, embedding) in texts.iter().zip(&together) {
        assert_eq!(&encoder.embed(&[text]).unwrap()[0], embedding);
        let length: f32 = embedding.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(encoder.embed(&texts).unwrap(), together));
        }
    });
}

#[test]
fn a_long_text_is_read_to_its_end() {
    let tiny = tiny();
    let encoder = tiny.encoder(options(Precision::Int8)).unwrap();
    let long = "a ".repeat(500);
    let [plain, other] =
        [long.clone(), format!("{long} d")].map(|text| encoder.read(&[&text]).unwrap().remove(0));
    assert_eq!((plain.sections, other.sections), (42, 42));
    assert_ne!(plain.mean, other.mean, "the last word counts");
    for (mean, max) in plain.mean.iter().zip(&plain.max) {
        assert!(max.is_finite() && *max >= *mean - 0.2);
    }
    let empty = encoder.read(&[""]).unwrap().remove(0);
    assert_eq!(empty.sections, 1);
    assert_eq!(empty.mean, encoder.embed_tokens(&[vec![1, 2]]).unwrap()[0]);
    assert_eq!(encoder.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn bounds_are_refused() {
    let tiny = tiny();
    let small = EncoderOptions {
        most_bytes: 10,
        most_texts: 2,
        ..options(Precision::F32)
    };
    let encoder = tiny.encoder(small).unwrap();
    for texts in [vec!["a"; 3], vec!["a a a a a a"]] {
        assert!(matches!(
            encoder.embed(&texts),
            Err(ModelError::TooLarge { .. })
        ));
    }
    for tokens in [vec![1; POSITIONS + 1], vec![1, 8, 2]] {
        assert!(matches!(
            encoder.embed_tokens(&[tokens]),
            Err(ModelError::TooLarge { .. })
        ));
    }
    for (name, bad) in [
        (
            "window",
            EncoderOptions {
                window: POSITIONS + 1,
                ..small
            },
        ),
        (
            "overlap",
            EncoderOptions {
                overlap: 10,
                ..small
            },
        ),
        (
            "threads",
            EncoderOptions {
                threads: 0,
                ..small
            },
        ),
    ] {
        let error = tiny.encoder(bad).err().unwrap();
        assert!(matches!(error, ModelError::Option { name: found, .. } if found == name));
    }
}

#[test]
fn broken_files_are_named() {
    let mut tiny = tiny();
    let weights = tiny.folder.path().join("model.safetensors");
    let refused = |tiny: &Tiny| {
        tiny.encoder(options(Precision::F32))
            .err()
            .unwrap()
            .to_string()
    };
    let name = "encoder.layer.1.output.dense.weight".to_owned();
    tiny.tensors.get_mut(&name).unwrap().1[3] = f32::NAN;
    write_weights(&weights, &tiny.tensors);
    assert!(refused(&tiny).contains("not finite"));
    tiny.tensors
        .insert(name.clone(), (vec![1, 2], vec![0.0; 2]));
    write_weights(&weights, &tiny.tensors);
    assert!(refused(&tiny).contains("[1, 2]"));
    tiny.tensors.remove(&name);
    write_weights(&weights, &tiny.tensors);
    assert!(refused(&tiny).contains(&name));
    std::fs::write(&weights, b"no").unwrap();
    assert!(refused(&tiny).contains("model.safetensors"));
    std::fs::write(
        tiny.folder.path().join("config.json"),
        r#"{"model_type":"t5"}"#,
    )
    .unwrap();
    assert!(refused(&tiny).contains("config.json"));
}

/// Ten words of a text and the cosines that the reference implementation gives them.
#[test]
fn minilm_agrees_with_itself_in_eight_bits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/minilm");
    if !folder.join("model.safetensors").is_file() {
        eprintln!(
            "skipped: no {}; `make models` installs it",
            folder.display()
        );
        return;
    }
    let files = ModelSource::Folder(folder).encoder_files().unwrap();
    let load = |precision| {
        let options = EncoderOptions {
            precision: Some(precision),
            ..EncoderOptions::default()
        };
        Encoder::load(&files, options).unwrap()
    };
    let texts = [
        "A man is eating food.",
        "A man is eating a piece of bread.",
        "The model refused to delete the production database without approval.",
        "def test(): assert add(2, 2) == 4",
    ];
    let (exact, fast) = (load(Precision::F32), load(Precision::Int8));
    let (exact, fast) = (exact.embed(&texts).unwrap(), fast.embed(&texts).unwrap());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for (exact, fast) in exact.iter().zip(&fast) {
        assert!(dot(exact, fast) > 0.998);
    }
    assert!(
        dot(&exact[0], &exact[1]) > 0.7,
        "two sentences of one sense"
    );
    assert!(
        dot(&exact[0], &exact[3]) < 0.2,
        "two that have nothing in common"
    );
}
