#![allow(clippy::unwrap_used)]

use plumbline_training_core::trainer::{Batch, LocalTrainer};

use super::*;
use crate::config::AdamW;
use crate::trainer::Trainer;

const TEXT: &str = "let address = bind(port);\nlet socket = listen(address);\n";

/// A small model that knows `TEXT` by heart.
pub(crate) fn generator() -> Generator {
    let tokenizer = Tokenizer::train(std::iter::repeat_n(TEXT.to_owned(), 3), 270).unwrap();
    let config = ModelConfig {
        vocabulary: 272,
        width: 32,
        layers: 2,
        heads: 2,
        hidden: 64,
        sequence: 24,
        ..ModelConfig::default()
    };
    let mut trainer = Trainer::new(config.clone(), AdamW::default(), 1).unwrap();
    let mut ids = tokenizer.encode(TEXT);
    ids.push(tokenizer.separator());
    let sequences = ids.len();
    let ids = ids.repeat(3);
    let batch = Batch {
        sequences,
        length: 24,
        tokens: (0..sequences)
            .flat_map(|i| ids[i..i + 25].to_vec())
            .collect(),
    };
    for _ in 0..200 {
        trainer.step(&batch, 1e-2).unwrap();
    }
    Generator::new(config, tokenizer, trainer.parameters().unwrap()).unwrap()
}

fn tokens(max_tokens: usize) -> Sampling {
    Sampling {
        max_tokens,
        ..Sampling::default()
    }
}

#[test]
fn completes_what_it_learned() {
    let generator = generator();
    let completion = generator.complete("let address = bi", &tokens(9)).unwrap();
    assert!(completion.text.starts_with("nd(port);"), "{completion:?}");
    assert_eq!(completion.finish_reason, FinishReason::Length);
    assert_eq!(completion.completion_tokens, 9);
    let stopped = Sampling {
        stop: vec!["zzz".into(), "ort)".into()],
        logprobs: Some(2),
        ..tokens(30)
    };
    let completion = generator.complete("let address = bi", &stopped).unwrap();
    assert_eq!(completion.text, "nd(p");
    assert_eq!(completion.finish_reason, FinishReason::Stop);
    let logprobs = completion.logprobs.unwrap();
    // The tokens are those of the text; the one that only completed the stop string is not among them.
    assert!(logprobs.len() <= completion.completion_tokens);
    let spelled: Vec<u8> = logprobs
        .iter()
        .flat_map(|entry| entry.chosen.bytes.clone())
        .collect();
    assert!(spelled.starts_with(b"nd(p"), "{logprobs:?}");
    for entry in &logprobs {
        assert!(entry.at < 4);
        assert_eq!(entry.top.len(), 2);
        assert_eq!(entry.top[0], entry.chosen);
        assert!(entry.chosen.logprob <= 0.0 && entry.top[1].logprob <= entry.chosen.logprob);
    }
    let document = generator.complete("", &tokens(200)).unwrap();
    assert_eq!(document.text, TEXT);
    assert_eq!(document.finish_reason, FinishReason::Stop);
}

#[test]
fn batched_equals_single_and_seeds_reproduce() {
    let generator = generator();
    let prompts: Vec<String> = [
        "let s",
        "",
        "bind(",
        "x",
        "let address = bind(port);\nlet so",
    ]
    .iter()
    .cycle()
    .take(70)
    .map(|prompt| (*prompt).to_owned())
    .collect();
    for temperature in [0.0, 1.3] {
        let sampling = Sampling {
            temperature,
            top_p: 0.95,
            seed: 11,
            ..tokens(40)
        };
        let batch = generator.complete_batch(&prompts, &sampling).unwrap();
        assert_eq!(
            batch,
            generator.complete_batch(&prompts, &sampling).unwrap()
        );
        for (i, (prompt, batched)) in prompts.iter().zip(&batch).enumerate() {
            let mut single = sampling.clone();
            single.seed += i as u64;
            assert_eq!(*batched, generator.complete(prompt, &single).unwrap());
        }
    }
}

#[test]
fn streamed_pieces_join_to_the_text() {
    let generator = generator();
    for temperature in [0.0, 10.0] {
        let sampling = Sampling {
            temperature,
            seed: 3,
            stop: vec!["listen(addressed".into(), "socket!".into()],
            ..tokens(60)
        };
        let mut streamed = String::new();
        let completion = generator
            .complete_streaming("let a", &sampling, |piece| {
                streamed.push_str(piece);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(streamed, completion.text);
        assert_eq!(completion, generator.complete("let a", &sampling).unwrap());
    }
    let mut pieces = 0;
    let cancelled = generator
        .complete_streaming("let a", &tokens(60), |_| {
            pieces += 1;
            if pieces == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!(pieces, 2);
    assert_eq!(cancelled.finish_reason, FinishReason::Cancelled);
}

#[test]
fn long_prompts_are_cut_and_generation_slides() {
    let generator = generator();
    let long = TEXT.repeat(10);
    let completion = generator.complete(&long, &tokens(0)).unwrap();
    assert_eq!(
        (completion.prompt_tokens, completion.completion_tokens),
        (24, 0)
    );
    let sampling = Sampling {
        temperature: 5.0,
        ..tokens(100)
    };
    let completion = generator.complete(&long, &sampling).unwrap();
    assert!(completion.completion_tokens > 24, "{completion:?}");
}

#[test]
fn a_generator_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Generator>();
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let tokenizer = Tokenizer::train(std::iter::empty(), 257).unwrap();
    let config = ModelConfig::default();
    let short = Generator::new(config.clone(), tokenizer.clone(), vec![0.0; 5]);
    assert!(matches!(
        short,
        Err(ModelError::ParameterCount { got: 5, .. })
    ));
    let narrow = ModelConfig {
        vocabulary: 100,
        ..config
    };
    let parameters = vec![0.0; narrow.parameter_count()];
    assert!(Generator::new(narrow.clone(), tokenizer.clone(), parameters).is_err());
    let wide = ModelConfig {
        vocabulary: 257,
        ..narrow
    };
    let diverged = vec![f32::NAN; wide.parameter_count()];
    let generator = Generator::new(wide, tokenizer, diverged).unwrap();
    let error = generator.complete("x", &Sampling::default()).unwrap_err();
    assert!(matches!(error, ModelError::Diverged(_)));
}
