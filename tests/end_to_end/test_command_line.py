"""The command as people and scripts run it: one home, documented JSON, and real processes for the way it starts."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from tests.support.terminal import ProcessTerminal, Terminal

COMMANDS = (
    (),
    ("fetch-demo",),
    ("analyse",),
    ("spectra",),
    ("sensitivity",),
    ("allocate",),
    ("evaluate",),
    ("search",),
    ("post-train",),
    ("generate",),
    ("refine",),
    ("export",),
    ("compare",),
    ("compress",),
    ("report",),
    ("demo",),
    ("app",),
    ("jobs",),
    ("analysis", "export"),
    ("analysis", "import"),
    ("maps", "list"),
    ("maps", "save"),
    ("maps", "import"),
    ("maps", "rename"),
    ("maps", "duplicate"),
    ("maps", "delete"),
    ("maps", "export"),
    ("jobs", "show"),
    ("jobs", "cancel"),
    ("jobs", "resume"),
    ("cache", "list"),
    ("cache", "verify"),
    ("cache", "prune"),
)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory):
    return Terminal(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def process(terminal, warm_python):
    """Return the same home's command as a process."""
    return ProcessTerminal(terminal.home, warm_python)


@pytest.fixture(scope="module")
def analysed(terminal, model_folder, text_file):
    """Return the words that analyse a toy, and the id of its analysis."""
    words = ("analyse", model_folder("llama-gqa"), "--text", text_file, "--n-sequences", 6, "--length", 32)
    return words, terminal.json(*words)["analysis"]


@pytest.fixture(scope="module")
def rank_map(terminal, analysed, tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "map.json"
    terminal("allocate", analysed[1], "--method", "water-filling", "--keep", 0.7, "--out", path)
    return path


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(terminal, words):
    shown = terminal(*words, "--help").stdout
    assert "Usage" in shown
    assert not words or "Example: rankscope" in shown


def test_analyse_gives_the_id_at_once_when_it_exists(terminal, analysed):
    words, known = analysed
    before = terminal.json("jobs")["jobs"]
    assert terminal.json(*words) == {"analysis": known}
    assert terminal.json("jobs")["jobs"] == before


def test_detach_returns_a_job_that_can_be_waited_for(process, model_folder, text_file):
    words = ("analyse", model_folder("gpt2"), "--text", text_file, "--n-sequences", 4, "--length", 32, "--detach")
    job = process.json(*words)["job"]
    ended = process.json("jobs", "wait", job)
    assert ended["status"] == "done"
    assert len(ended["result"]["analysis"]) == 64
    assert "done" in process("jobs").stdout
    assert process.json("jobs", "show", job[:8])["job"] == job


def test_an_analysis_runs_by_a_command_of_ones_own(warm_python, model_folder, text_file, tmp_path):
    elsewhere = ProcessTerminal(tmp_path / "home", warm_python, RANKSCOPE_COMMAND="env THREADS={cpu} {command}")
    words = ("analyse", model_folder("gpt2"), "--text", text_file, "--n-sequences", 4, "--length", 32)
    found = elsewhere.json(*words, "--engine", "command", "--resources", "cpu=1")
    (job,) = Terminal(elsewhere.home).json("jobs")["jobs"]
    assert (job["status"], job["engine"], job["resources"]) == ("done", "command", {"cpu": 1.0})
    assert job["place"] == f"on {socket.gethostname()}, env"
    assert job["result"] == found
    assert "did you mean 'ray'" in Terminal(elsewhere.home).error(*words, "--engine", "rey")


@pytest.mark.parametrize("method", ["svd-llm", "flrc", "skipcat", "water-filling"])
def test_allocate_and_evaluate_speak_the_documented_json(terminal, analysed, text_file, tmp_path, method):
    path = tmp_path / "map.json"
    made = terminal.json("allocate", analysed[1], "--method", method, "--keep", 0.75, "--out", path)
    assert made["kept_fraction"] <= made["target_kept_fraction"] == 0.75
    words = ("evaluate", analysed[1][:12], path, "--text", text_file, "--n-sequences", 2, "--length", 32)
    result = terminal.json(*words)
    assert (result["analysis"], result["level"], len(result["maps"])) == (analysed[1], "perplexity", 1)
    row = result["maps"][0]
    assert row["method"] == method
    assert row["size"]["params"] == made["params"]
    assert row["size"]["kept_fraction"] == made["kept_fraction"]
    assert not any(row[column] for column in ("tasks", "summaries", "costs", "memories"))
    found, prediction = row["perplexities"][0], row["perplexities"][0]["prediction"]
    assert found["perplexity"] > 0
    assert found["dense_perplexity"] == result["dense"]["perplexities"][0]["perplexity"] > 0
    assert 0 < made["predicted_perplexity_ratio_low"] <= made["predicted_perplexity_ratio"]
    assert made["predicted_perplexity_ratio"] <= made["predicted_perplexity_ratio_high"]
    assert made["predicted_nats"] == row["size"]["predicted_nats"]
    assert prediction["low"] <= prediction["perplexity"] <= prediction["high"]
    assert prediction["calibrated_on"] >= made["prediction_calibrated_on"] - 1
    assert (found["n_sequences"], found["n_tokens"], found["text"]) == (2, 62, "notes.txt")
    assert found["calibration_text"] is True
    assert "perplexity, notes.txt (calibration text), 62 tokens, float32" in terminal(*words).stdout


def test_compare_and_refine_speak_the_documented_json(terminal, analysed, rank_map, text_file):
    text = ("--text", text_file, "--n-sequences", 2, "--length", 32)
    methods = ("--methods", "svd-llm,water-filling", "--keep", "0.8,0.6", "--other-text", "")
    found = terminal.json("compare", analysed[1], *methods, *text)
    assert [(row["method"], row["target_kept_fraction"]) for row in found["rows"]] == [
        (method, keep) for keep in (0.8, 0.6) for method in ("svd-llm", "water-filling")
    ]
    names = {"kept_fraction", "perplexity", "dense_perplexity", "predicted_perplexity", "search_s", "agreement"}
    assert all(names <= set(row) and "other_perplexity" not in row for row in found["rows"])
    assert {"prediction_median_relative_error", "impossible", "id"} <= set(found)
    refined = terminal.json("refine", analysed[1], rank_map, "--train", "--train-sequences", 16, *text)
    assert refined["training_free"] is False
    before, after = refined["before"], refined["after"]
    assert before["size"] == after["size"]
    assert (before["refinement"], after["refinement"]) == (None, "trained")
    assert after["id"] == f"{before['id']}+{refined['refinement']}"
    assert after["perplexities"][0]["setting"] in [found["setting"] for found in before["perplexities"]]
    assert "expected a list of numbers above 0" in terminal.error("compare", analysed[1], "--keep", "half")


def test_a_quick_evaluation_speaks_the_documented_json(terminal, analysed, rank_map, text_file, tmp_path):
    articles = tmp_path / "articles.jsonl"
    rows = [{"body": f"The river rose in part {i} of the town.", "short": "The river rose."} for i in range(3)]
    articles.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    text = ("--text", text_file, "--n-sequences", 2, "--length", 32, "--dtype", "float32")
    words = ("evaluate", analysed[1][:12], rank_map, "--level", "quick", *text, "--tasks", "", "--other-text", "")
    columns = ("--articles", 3, "--article-text", articles, "--article-field", "body", "--summary-field", "short")
    summaries = (*columns, "--article-length", 20, "--template", "{article} Short:", "--max-new-tokens", 4)
    found = terminal.json(*words, *summaries, "--repetitions", 2)
    assert (found["analysis"], found["level"], len(found["maps"])) == (analysed[1], "quick", 1)
    dense, row = found["dense"], found["maps"][0]
    names = {"id", "method", "metric", "refinement", "size", "weight_bits"}
    names |= {"perplexities", "tasks", "summaries", "costs", "memories"}
    assert set(dense) == set(row) == names
    assert (dense["method"], row["method"], row["tasks"]) == ("dense", "water-filling", [])
    assert row["size"]["kept_fraction"] <= 0.7
    assert 62 in [result["n_tokens"] for result in row["perplexities"]]
    assert set(row["summaries"][0]["rouge"]) == {"rouge1", "rouge2", "rougeL"}
    assert [speed["batch_size"] for speed in row["costs"][0]["speeds"]] == [1, 4]
    assert row["costs"][0]["decode_multiply_adds"] < dense["costs"][0]["decode_multiply_adds"]
    assert "rougeL, 3 articles" in terminal(*words, *summaries, "--repetitions", 2).stdout
    missing = ("--articles", 3, "--article-text", articles, "--repetitions", 0)
    assert "has no field 'document'" in terminal.error(*words, *missing)


def test_the_whole_way_from_a_model_to_a_folder_and_a_report(terminal, model_folder, text_file, tmp_path):
    out = tmp_path / "out"
    text = ("--text", text_file, "--n-sequences", 6, "--length", 32, "--held-out", 2)
    words = ("demo", out, "--model", model_folder("llama-gqa"), *text, "--keep", 0.7, "--tasks", "")
    found = terminal.json(*words)
    methods = ["svd-llm", "flrc", "skipcat", "water-filling", "width"]
    assert [row["method"] for row in found["comparison"]["rows"]] == methods
    best = min(found["comparison"]["rows"], key=lambda row: row["perplexity"])
    assert found["method"] == best["method"] == found["evaluation"]["maps"][0]["method"]
    assert found["report"]["kept_fraction"] == pytest.approx(best["kept_fraction"])
    assert found["export"]["max_logit_difference"] < 1e-4
    assert {path.name for path in out.iterdir()} == {"model", "rank-map.json", "report.html"}
    assert (out / "model" / "model.safetensors").is_file()
    assert found["report"]["measured"]
    assert "not empty" in terminal.error(*words)
    other = ("demo", tmp_path / "other", *words[2:-4], "--tasks", "")
    assert "use quick or full" in terminal.error(*other, "--keep", 0.7, "--level", "perplexity")
    assert "budget" in terminal.error(*other, "--keep", 0.0001)
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_evaluated_is_one_sentence(terminal, analysed, rank_map, text_file):
    words = ("evaluate", analysed[1], rank_map, "--text", text_file, "--length", 32)
    assert "did you mean 'quick'" in terminal.error(*words, "--level", "quik")


@pytest.mark.long  # reads the 14,000 tasks that come with lm-eval; engine/evaluation/test_tasks.py asks the engine
def test_a_task_of_the_hub_without_a_connection_is_one_sentence(terminal, analysed, rank_map, text_file):
    words = ("evaluate", analysed[1], rank_map, "--text", text_file, "--length", 32)
    assert "need no hub: demo_piqa" in terminal.error(*words, "--tasks", "piqa")


@pytest.mark.parametrize("method", ["svd-llm", "water-filling"])
def test_targets_are_met_in_megabytes_and_in_predicted_perplexity(terminal, analysed, tmp_path, method):
    path = tmp_path / "map.json"
    words = ("allocate", analysed[1], "--method", method)
    full = terminal.json(*words, "--keep", 1)
    mb = 0.9 * 2 * full["model_mb_float16"]
    made = terminal.json(*words, "--mb", mb, "--dtype", "float32", "--out", path)
    assert 0.97 * mb < made["model_mb_float32"] <= mb
    smaller = 0.95 * terminal.json(*words, "--keep", 1, "--dtype", "int8")["model_mb_int8"]
    same = terminal.json(*words, "--mb", smaller, "--dtype", "int8", "--out", path)
    assert 0.97 * smaller < same["model_mb_int8"] <= smaller
    assert made["kept_fraction"] <= made["target_kept_fraction"]
    wanted = (1 + made["predicted_perplexity_ratio"]) / 2
    good = terminal.json(*words, "--perplexity-ratio", wanted, "--out", path)
    assert 1 <= good["predicted_perplexity_ratio"] <= wanted
    assert made["params"] < good["params"] <= full["params"]
    assert json.loads(path.read_text())["budget"]["params"] >= good["params"]


def test_bits_are_chosen_for_megabytes_and_measured_as_they_are(terminal, analysed, text_file, tmp_path):
    path = tmp_path / "bits.json"
    words = ("allocate", analysed[1], "--mb")
    full = terminal.json("allocate", analysed[1], "--keep", 1, "--dtype", "int8")
    mb = 0.97 * full["model_mb_int8"]
    made = {bits: terminal.json(*words, mb, "--bits", bits, "--out", path) for bits in ("16", "8", "choose")}
    assert all(one["model_mb_float16"] <= mb for one in made.values())
    assert made["choose"]["predicted_nats"] <= min(made["16"]["predicted_nats"], made["8"]["predicted_nats"])
    assert sum(made["choose"]["blocks_at_bits"].values()) == len(json.loads(path.read_text())["blocks"])
    on_text = ("--text", text_file, "--n-sequences", 2, "--length", 16, "--dtype", "float32")
    row, beside = terminal.json("evaluate", analysed[1], path, *on_text)["maps"]
    assert row["size"]["model_bytes"]["float16"] == round(1e6 * made["choose"]["model_mb_float16"])
    assert row["perplexities"][0]["perplexity"] > 1
    # At 8 bits the dense model is larger than what was asked for.
    assert (beside["method"], beside["weight_bits"]) == ("dense", 4)
    assert beside["perplexities"][0]["setting"] == row["perplexities"][0]["setting"]
    again = terminal.json(*words, mb, "--bits", "choose")
    assert again["instead"] is None or again["instead"].startswith("Prefer the dense model at 4 bits: on ")
    refused = terminal("evaluate", analysed[1], path, *on_text, "--bits", 8, code=1)
    assert "leave the bits out to measure it as it says" in refused.stderr
    refused = terminal(*words, mb, "--bits", "choose", "--method", "svd-llm", code=1)
    assert "give --mb and neither another method" in refused.stderr
    assert "(for widths alone: --format width)" in refused.stderr


def test_widths_at_few_bits_are_counted_measured_and_exported(
    terminal, analysed, text_file, tmp_path, warm_python, monkeypatch
):
    monkeypatch.setattr(sys, "executable", str(warm_python))
    path, folder, bits, dtype = tmp_path / "narrow.json", tmp_path / "narrow", 4, "int4"
    full = terminal.json("allocate", analysed[1], "--keep", 1, "--dtype", dtype)[f"model_mb_{dtype}"]
    words = ("allocate", analysed[1], "--format", "width", "--out", path)
    made = terminal.json(*words, "--mb", 0.97 * full, "--bits", bits)
    assert 0.9 * full < made["model_mb_float16"] <= 0.97 * full
    blocks = json.loads(path.read_text())["blocks"]
    assert {block["format"] for block in blocks} == {"width", "dense"}
    assert {block["bits"] for block in blocks} == {bits}
    on_text = ("--text", text_file, "--n-sequences", 2, "--length", 16, "--dtype", "float32")
    row = terminal.json("evaluate", analysed[1], path, *on_text)["maps"][0]
    assert row["size"]["model_bytes"]["float16"] == round(1e6 * made["model_mb_float16"])
    assert row["perplexities"][0]["perplexity"] > 1
    stored = terminal.json("export", analysed[1], path, folder, "--dtype", "bfloat16")
    assert stored["weight_bytes"] == stored["predicted_weight_bytes"]
    assert "factored" in terminal.error("export", analysed[1], path, tmp_path / "graph", "--format", "gguf")
    # Without bits of their own: sizes and measurements are at the bits of the whole model.
    plain = terminal.json(*words, "--mb", 0.97 * full, "--dtype", dtype)
    assert plain[f"model_mb_{dtype}"] <= 0.97 * full
    rounded = terminal.json("evaluate", analysed[1], path, *on_text, "--bits", bits)["maps"][0]
    assert rounded["weight_bits"] == bits


@pytest.mark.parametrize("method", ["svd-llm", "water-filling"])
def test_a_speed_on_a_device_is_met_as_predicted(terminal, analysed, tmp_path, method):
    path = tmp_path / "fast.json"
    words = ("allocate", analysed[1], "--method", method, "--device", "raspberry-pi-5", "--batch", 4)
    dense = terminal.json(*words, "--ms-per-token", 1e6)["time"]
    asked = 1.005 * dense["predicted_tokens_per_second"]
    if method == "svd-llm":  # one factored weight is two operations here, so that its maps are no faster
        assert "ask for no less time" in terminal.error(*words, "--tokens-per-second", asked)
        return
    made = terminal.json(*words, "--tokens-per-second", asked, "--out", path)
    assert made["time"]["predicted_tokens_per_second"] >= asked
    assert made["target_kept_fraction"] is None
    budget = json.loads(path.read_text())["budget"]
    assert budget["device"] == "raspberry-pi-5"
    assert budget["seconds_per_token"] == pytest.approx(4 / asked)
    shown = terminal.json("devices", analysed[1], path, "--device", "raspberry-pi-5", "--batch", 4)[0]
    assert shown["compressed"]["step_s"] <= budget["seconds_per_token"]


def test_flrc_takes_its_settings(terminal, analysed, tmp_path):
    path = tmp_path / "map.json"
    words = ("allocate", analysed[1], "--keep", 0.6, "--method", "flrc", "--rank-step", 4, "--min-rank", 8)
    terminal(*words, "--importance", "fisher", "--gamma", 0.5, "--out", path)
    ranks = [b["rank"] for b in json.loads(path.read_text())["blocks"] if b["rank"] is not None]
    assert ranks
    assert all(rank % 4 == 0 and rank >= 8 for rank in ranks)


GENERATE = ("--prompt", "The river rose", "--max-new-tokens", 8)


def test_generate_speaks_the_documented_json(terminal, analysed, rank_map):
    dense = terminal.json("generate", analysed[1], *GENERATE)
    static = terminal.json("generate", analysed[1], rank_map, *GENERATE)
    options = ("--progressive", "--start", 0.8, "--end", 0.5, "--stages", 2, "--step", 3, "--dtype", "float32")
    progressive = terminal.json("generate", analysed[1][:12], *GENERATE, *options)
    assert [d["variant"] for d in (dense, static, progressive)] == ["dense", "water-filling", "progressive"]
    assert dense["mean_kept_fraction"] == 1.0
    assert dense["schedule"] is None
    assert static["mean_kept_fraction"] <= 0.7
    assert progressive["schedule"] == {"kind": "staged", "kept_fractions": [0.8, 0.5], "length": 6}
    for found in (dense, static, progressive):
        assert len(found["active_params"]) == found["new_tokens"] <= 8
        assert found["active_params"][0] == found["prefill_params"] <= found["resident_params"]


def test_generate_prints_the_text_alone_on_standard_output(terminal, analysed, tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("The river rose", encoding="utf-8")
    shown = terminal("generate", analysed[1], "--prompt-file", file, "--max-new-tokens", 8, "--no-chat")
    found = terminal.json("generate", analysed[1], *GENERATE, "--no-chat")
    assert shown.stdout.rstrip("\n") == found["text"].rstrip("\n")
    assert "mean active parameters" in shown.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prompt", " "), "prompt is empty"),
        ((), "--prompt-file none was given"),
        (("--prompt", "a", "--prompt-file", "b"), "both was given"),
        (("--prompt-file", "nowhere.txt"), "no prompt file at nowhere.txt"),
        (("--prompt-file", "/dev/zero"), "no prompt file at /dev/zero"),
        (("--prompt", "river " * 100), "128 positions"),
        (("--prompt", "a", "--dtype", "int8"), "int8"),
        (("--prompt", "a", "--max-new-tokens", 0), "at least 1"),
        (("--prompt", "a", "--progressive", "--start", 0.5, "--end", 0.5), "--start above --end"),
        (("--prompt", "a", "--progressive", "--start", 1.5), "1.5"),
        (("--prompt", "a", "--end", 0.5), "belong to --progressive"),
        (("--prompt", "a", "--progressive", "--end", -0.5), "-0.5"),
        (("--prompt", "a", "--progressive", "--schedule", "wavy"), "staged, linear"),
        (("--prompt", "a", "--progressive", "--schedule", "linear", "--step", 3), "leave them out"),
        (("--prompt", "a", "--progressive", "--stages", 1), "at least 2"),
        (("--prompt", "a", "--progressive", "--format", "skip"), "cannot be sliced"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_generated_is_one_sentence(terminal, analysed, words, said):
    assert said in terminal.error("generate", analysed[1], *words)


def test_progressive_decoding_of_a_given_map_is_one_sentence(terminal, analysed, rank_map):
    assert "leave out the map" in terminal.error("generate", analysed[1], rank_map, *GENERATE, "--progressive")


def test_a_process_speaks_json_alone_on_standard_output_and_fails_with_a_sentence(
    process, analysed, rank_map, text_file
):
    words = ("evaluate", analysed[1], rank_map, "--text", text_file, "--n-sequences", 3, "--length", 16)
    assert process.json(*words)["maps"][0]["perplexities"][0]["n_sequences"] == 3
    assert "hub cannot be reached" in process.error("analyse", "somebody/some-model")
    assert "Usage" in process("--help").stdout


def test_locks_are_honoured_and_bad_ones_are_one_sentence(terminal, analysed, tmp_path):
    lock, path = tmp_path / "lock.json", tmp_path / "map.json"
    lock.write_text('{"model.layers.0.mlp.down_proj": 7, "model.layers.1.mlp.up_proj": "dense"}')
    terminal("allocate", analysed[1], "--keep", 0.7, "--lock", lock, "--out", path)
    blocks = {tuple(b["projections"]): b["rank"] for b in json.loads(path.read_text())["blocks"]}
    assert blocks["model.layers.0.mlp.down_proj",] == 7
    assert blocks["model.layers.1.mlp.up_proj",] is None
    for content, words in [
        ('{"model.layers.0.nope": 3}', "no projection of this model"),
        ('{"model.layers.0.mlp.down_proj": 1.5}', "whole number"),
        ("[1]", "has a list"),
        ("nonsense", "not JSON"),
    ]:
        lock.write_text(content)
        assert words in terminal.error("allocate", analysed[1], "--keep", 0.7, "--lock", lock)


def test_spectra_and_sensitivity_are_shown_and_scripted(terminal, analysed):
    blocks = terminal.json("spectra", analysed[1], "--metric", "feature")["blocks"]
    assert len(blocks) == 3 * 9
    assert all(len(b["energies"]) == b["full_rank"] for b in blocks)
    assert "effective rank" in terminal("spectra", analysed[1]).stdout
    rows = terminal.json("sensitivity", analysed[1])["projections"]
    assert len(rows) == 3 * 7
    assert all(r["importance"] > 0 and r["measured_nll_increase"] is None for r in rows)


def test_the_store_is_listed_verified_and_pruned(terminal, analysed):
    listed = terminal.json("cache", "list")["artifacts"]
    assert {"analysis", "factors", "statistics", "spectrum"} <= {a["stage"] for a in listed}
    assert terminal.json("cache", "verify")["damaged"] == []
    assert terminal.json("cache", "prune")["removed"] == []
    assert "No artifact of stage" in terminal.error("cache", "prune", "--stage", "nothing")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b'{"schema": NaN}', "NaN"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[" * 100_000, "nest"),
    ],
)
def test_a_broken_rank_map_is_one_sentence(terminal, analysed, tmp_path, content, words):
    path = tmp_path / "map.json"
    path.write_bytes(content)
    assert words in terminal.error("evaluate", analysed[1], path)


def changed(rank_map, change):
    document = json.loads(rank_map.read_text())
    change(document)
    return json.dumps(document)


def single(blocks):
    return next(block for block in blocks if len(block["projections"]) == 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["blocks"][0].update(projections=["model.layers.0.self_attn.qq_proj"]), "qq_proj"),
        (lambda d: d["blocks"].append(d["blocks"][0]), "twice"),
        (lambda d: single(d["blocks"]).update(format="skip", rank=10**6), "rank 1000000"),
        (lambda d: d["model"].update(fingerprint="0" * 64), "is for the model"),
        (lambda d: d["budget"].update(params=10), "budget"),
    ],
    ids=["unknown projection", "duplicate", "rank out of range", "wrong model", "over budget"],
)
def test_a_rank_map_that_does_not_fit_is_one_sentence(terminal, analysed, rank_map, tmp_path, change, words):
    path = tmp_path / "bad.json"
    path.write_text(changed(rank_map, change))
    assert words in terminal.error("evaluate", analysed[1], path)


def test_a_hundred_megabytes_are_refused_without_being_read(terminal, analysed, tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(100 * 10**6)
    assert "MB" in terminal.error("evaluate", analysed[1], path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("analyse", "no/such/folder/here"), "No model was found"),
        (("analyse", "demo", "--text", "missing.txt"), "does not exist"),
        (("analyse", "demo", "--fisher", "guessed"), "empirical, sampled"),
        (("analyse", "demo", "--damping", "3"), "at most 0.1"),
        (("allocate", "ffff", "--keep", "0.8"), "No analysis starts with"),
        (("jobs", "show", "ffff"), "ffff"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_sentence(terminal, analysed, words, said):
    assert said in terminal.error(*words)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--keep", "0"), "kept fraction"),
        (("--keep", "1.2"), "kept fraction"),
        (("--keep", "0.001"), "budget"),
        (("--keep", "0.8", "--method", "flcr"), "flrc"),
        (("--keep", "0.8", "--format", "skippy"), "skippy"),
        ((), "Exactly one of --keep, --mb, --perplexity-ratio, --tokens-per-second and --ms-per-token"),
        (("--ms-per-token", "0", "--device", "h100"), "--ms-per-token 0 was given; expected a number above 0"),
        (("--tokens-per-second", "9"), "rankscope devices --measure"),
        (("--tokens-per-second", "1e9", "--device", "h100"), "The fastest map of Water-filling is predicted to take"),
        (("--keep", "0.8", "--mb", "1"), "--keep and --mb was given"),
        (("--mb", "0.001"), "ask for at least"),
        (("--mb", "1", "--dtype", "int2"), "float32, bfloat16, float16, int8, int4"),
        (("--perplexity-ratio", "0.9"), "at least 1"),
        (("--keep", "0.8", "--gamma", "2"), "water-filling has no setting gamma"),
        (("--keep", "0.8", "--importance", "fisher"), "has no setting importance"),
        (("--keep", "0.8", "--method", "flrc", "--importance", "guess"), "taylor2, taylor1, fisher"),
        (("--keep", "0.8", "--method", "flrc", "--gamma", "-1"), "gamma"),
        (("--keep", "0.8", "--rank-step", "0"), "rank_step"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_allocated_is_one_sentence(terminal, analysed, extra, said):
    assert said in terminal.error("allocate", analysed[1], *extra)


def test_too_little_text_is_one_sentence(terminal, model_folder, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("Too short.")
    assert "tokens" in terminal.error("analyse", model_folder("llama"), "--text", short)


def test_search_speaks_the_documented_json_and_feeds_allocate(terminal, analysed, text_file, tmp_path):
    asked = ("allocate", analysed[1], "--method", "bolaco", "--keep", 0.8)
    foreseen = terminal.json(*asked)
    assert (foreseen["search"], foreseen["kept_fraction"] <= 0.8) == ("predicted", True)
    assert "predicted" in terminal(*asked).stdout
    amount = ("--text", text_file, "--n-sequences", 4, "--length", 32, "--n-subset", 2, "--n-allocations", 2)
    found = terminal.json("search", analysed[1], "--trials", 3, "--rank-step", 2, *amount)
    assert found["analysis"] == analysed[1]
    assert found["trials"] == 3
    assert found["pareto"] is None
    assert found["best"]["kept_fraction"] <= 0.8
    path = tmp_path / "map.json"
    made = terminal.json("allocate", found["analysis"], "--method", "bolaco", "--keep", 0.8, "--out", path)
    assert made["params"] == found["best"]["params"]
    assert made["search"] == "measured"
    words = ("evaluate", found["analysis"], path, "--text", text_file, "--n-sequences", 2, "--length", 32)
    assert terminal.json(*words)["maps"][0]["method"] == "bolaco"
    shown = terminal("search", found["analysis"], "--trials", 3, "--rank-step", 2, "--pareto", *amount).stdout
    assert "Next: rankscope allocate" in shown
    assert "above 0 and at most 1" in terminal.error("search", analysed[1], "--target", 1.5)


def test_post_train_reports_before_and_after(terminal, analysed, rank_map, text_file):
    words = ("post-train", analysed[1], rank_map, "--max-steps", 2, "--text", text_file, "--n-sequences", 2)
    found = terminal.json(*words, "--length", 32)
    assert found["steps"] == 2
    assert found["perplexity"] != found["perplexity_before"]
    assert found["trained_params"] > 0
    assert "after 2 steps" in terminal(*words, "--length", 32).stdout
