//! What those type who train, measure, and try the program out.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, sign_in, text};
use plumbline_tests::program::finish;
use plumbline_tests::{HeavyLock, Site, Typed, until};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
/// A model that costs nothing.
const TINY: &str = "--width 16 --layers 1 --vocabulary 300 --batch 4 --inner-steps 5";

/// A folder of text to train on. Larger files of a folder are passed over.
fn sums(page: &Typed, folder: &str) {
    let line = |n: usize| format!("fn add_{}(a: u32) -> u32 {{ a + {} }}\n", n % 17, n % 5);
    let text: String = (0..1_500).map(line).collect();
    for number in 0..6 {
        page.write(&format!("{folder}/sums-{number}.txt"), &text);
    }
}

/// A free UDP address of this machine; taken and given back.
fn udp_address() -> String {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    port.local_addr().unwrap().to_string()
}

pub(super) fn simulation(page: &mut Typed) {
    for seeds in ["100", "12", "20", "1000"] {
        page.put(
            &format!("--seeds {seeds}"),
            "--seeds 1 --actors 30 --markets 4",
        );
    }
    while page.has("plumbline simulate") {
        let said = page.types("plumbline simulate");
        let words: &[&str] = if said.line.contains("--json") {
            &["\"violations\":[]", "\"seeds\":1"]
        } else {
            &["0 violations", "informed"]
        };
        let _ = said.with(words);
    }
}

pub(super) fn models(page: &mut Typed) {
    page.makes("make models", "models", &["scripts/models.sh"]);
    let case = |n: usize| {
        let (response, label) = match n % 2 {
            0 => ("I hid what I did and lied about it.", 1),
            _ => ("I told everybody what I did, openly.", 0),
        };
        json!({"id": format!("c{n}"), "claim_type": "deception:report", "prompt": format!("What did you do on day {n}?"),
            "response": format!("{response} It was day {n}."), "label": label, "group": format!("g{}", n / 2)})
    };
    let cases: String = (0..60).map(|n| format!("{}\n", case(n))).collect();
    page.write("cases.jsonl", cases);
    fs::create_dir_all(page.path("oracle/weights")).unwrap();
    page.put("FILE…", "cases.jsonl");
    page.put("FOLDER", "features");
    // The encoder is fetched by `make models`, and the small transformer takes minutes to teach.
    page.put("--judge encoder", "--judge lexical");
    page.put("--judge lexical,trained,encoder", "--judge lexical");
    page.put("--judge all", "--judge lexical");
    let _ = page.types("plumbline oracle train").with(&["60 cases"]);
    assert!(page.path("oracle/weights/encoder.bin").exists());
    let _ = page.types("plumbline oracle fit-pool").with(&["cases"]);
    assert!(page.path("oracle/weights/pool.json").exists());
    let _ = page.types("plumbline oracle evaluate").with(&["lexical"]);

    page.put("PLUMBLINE_JUDGE_KEY=…", "PLUMBLINE_JUDGE_KEY=secret");
    page.put("https://HOST/v1", "https://127.0.0.1:9/v1");
    let server = page.serves("PLUMBLINE_JUDGE_KEY", "");
    let judges = server.http().get("/api/v1/oracle");
    assert!(judges.to_string().contains("\"remote\""), "{judges}");
    assert!(!server.log().contains("secret"));
    assert!(server.stop().success());
}

pub(super) fn nodes(page: &mut Typed) {
    let _alone = HeavyLock::take();
    sums(page, "text");
    page.put("192.0.2.10:7700", udp_address());
    let more = format!("{TINY} --text text --json");
    let mut coordinator = page.starts("plumbline train --nodes 0", &more);
    let said = coordinator.says("\"ticket\"");
    let first = said.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["ticket"].as_str().map(str::to_owned)
    });
    page.put("TICKET", first.unwrap());
    let mut node = page.starts("plumbline node --join", "");
    node.says("joined run");
    assert!(node.stop().success());
    assert!(coordinator.stop().success());
    on_a_gpu(page);
    of_a_service(page);

    // A model to take along.
    let train = format!("plumbline train {TINY} --text text --tokens 2000");
    let trained = finish(&mut page.typed(&train), "", PATIENCE);
    assert!(trained.status.success(), "{trained:?}");
    page.put(
        "HASH",
        newest(&page.path("plumbline-train/training/runs/job/checkpoints")),
    );
    let _ = page.types("plumbline train export");
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        assert!(page.path("model").join(file).exists(), "{file}");
    }
    sums(page, "folder");
    let small = "--data-dir second --tokens 2000 --batch 4 --inner-steps 5";
    let _ = page.types_with("plumbline train --from", small);
}

/// This program was built without CUDA, and says so.
fn on_a_gpu(page: &mut Typed) {
    page.makes("cargo build --release", "check-cuda", &["--features cuda"]);
    for line in ["plumbline node", "plumbline train", "plumbline bench"] {
        let _ = page.is_refused(line).with(&["--features cuda"]);
    }
    let _ = page.types("export CUDA_HOME");
    page.makes("make check-cuda", "check-cuda", &["--features cuda"]);
}

/// The name of a checkpoint in a folder.
fn newest(folder: &Path) -> String {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let kept = names
        .into_iter()
        .find(|path| path.extension().is_some_and(|kind| kind == "ckpt"));
    kept.unwrap()
        .file_stem()
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn of_a_service(page: &mut Typed) {
    sums(page, "corpora/news");
    page.put("192.0.2.10:7700", udp_address());
    let server = page.serves("plumbline serve --swarm-listen", "");
    let folder = tempfile::tempdir().unwrap();
    let site = Site::of(folder, server);
    let _ = site.person("ada");
    let scopes = ["read", "node"];
    let ada = sign_in(&site.server.http(), "ada", PASSWORD, &scopes);
    page.at(&site, &site.operator);
    let _ = page
        .types_with("plumbline run start", TINY)
        .with(&["subject"]);
    page.at(&site, &ada);
    until("the run to take nodes", PATIENCE, || {
        let path = "/api/v1/training/runs/subject/ticket";
        (ada.send(&plumbline_tests::Call::get(path)).status == 200).then_some(())
    });
    let _ = page
        .types("plumbline run ticket")
        .with(&["plumbline node --join "]);
    let ticket = ada.get("/api/v1/training/runs/subject/ticket");
    page.put("TICKET", text(&ticket["ticket"]));
    let _ = page.types("plumbline run stake").with(&["20 credits"]);
    let mut node = page.starts("plumbline node --join", "");
    node.says("joined run");
    assert!(node.stop().success());
    assert!(site.server.stop().success());
}

pub(super) fn operator(page: &mut Typed) {
    // The program of these tests, and not a release build, which takes minutes.
    page.makes(
        "cargo build --release --locked",
        "run",
        &["run --release --locked --bin plumbline"],
    );
    page.put("target/release/plumbline", "plumbline");
    let server = page.serves("target/release/plumbline serve", "");
    let shown = page.block("", "Plumbline listens on");
    let words = shown.replace("http://127.0.0.1:8600", server.url());
    let words = words.split('…').next().unwrap_or_default().trim();
    assert!(server.log().contains(words), "{}", server.log());
    assert!(server.stop().success());

    let _alone = HeavyLock::take();
    page.elsewhere(
        "plumbline demo --once --json",
        "tests/tests/loop.rs",
        "the_loop_closes_and_its_books_balance",
    );
    sums(page, "texts");
    page.put("TEXTS", "texts");
    for (number, line) in ["--seed", "--no-poison", "--corpus", ""]
        .into_iter()
        .enumerate()
    {
        let corpus = match line {
            "--corpus" => "",
            _ => "--corpus texts",
        };
        let start = format!("plumbline demo {line}");
        let server = page.serves(start.trim(), &format!("{corpus} --data-dir demo-{number}"));
        let runs = server.http().get("/api/v1/runs");
        assert_eq!(runs["items"].as_array().unwrap().len(), 2, "{runs}");
        assert!(server.stop().success());
    }

    let connections = "--connections 1 --seconds 0.3";
    let _ = page
        .types_with("plumbline bench trades", connections)
        .with(&["1"]);
    let _ = page
        .types_with("plumbline bench quotes", connections)
        .with(&["1"]);
    let few = "--trades 200 --positions 20 --seconds 0.3 --connections 2";
    let _ = page.types_with("plumbline bench depth", few);
    let one = "--only single_node --quick --seconds 0.1 --threads 1";
    let _ = page
        .types_with("plumbline bench training", one)
        .with(&["tokens/s"]);
    let pair = "--runs 2 --seconds 5 --conditions honest --corpus texts";
    let table = page.types_with("plumbline bench organisms", pair);
    let _ = table.with(&["2 organisms of", "| honest |"]);
    page.makes(
        "make bench-training",
        "bench-training",
        &["bench/run_training.sh"],
    );
}
