"""Model cards of exported runs, and the licenses that they state."""

import json

import pytest
import yaml
from markdown_it import MarkdownIt

from dlcore import data, experiment, models, optim, tasks, training
from dlcore.experiment import card_text, model_card, source_license
from dlcore.experiment.card_facts import read_facts
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.initial_weights import read_license
from dlcore.experiment.restoring import (
  RestoredRun,
  arrays_to_json,
  restore_run,
)

HOSTILE = (
  "a`b``c",
  "`x`",
  "<script>alert(1)</script>",
  "![x](http://example.org/y.png)",
  "x | y \\| z",
  "no",
  "---",
  "a: [b, {c}]",
  "\n---\nlicense: mit\n---\n# x",
  "\x00\x1b\ud800",
  "",
  "é 日本 😀",
)
MARKDOWN = MarkdownIt("commonmark").enable("table")


def export(run, output, name="safetensors", **options):
  """Exports a run; returns front matter and body of its card."""
  text = experiment.export(run, name, output, **options)
  assert "the model card" in text
  return parsed((output / "MODEL_CARD.md").read_text())


def parsed(card):
  """Returns the front matter of a card, and the text behind it."""
  _, front, body = card.split("---\n", 2)
  return yaml.safe_load(front), body


def card_of(run, **config):
  """Returns the card of a run with other settings of `init`."""
  restored = restore_run(run, None)
  init = {**restored.config["init"], **config}
  restored = restored._replace(config={**restored.config, "init": init})
  return parsed(model_card.card(read_facts(restored, run / "out", "dlcore")))


def inline(body):
  """Returns the inline tokens of Markdown."""
  tokens = MARKDOWN.parse(body)
  return [child for token in tokens for child in token.children or ()]


@pytest.fixture
def config(tiny):
  def make(source="", strategy="full", **training):
    return tiny(
      data={"name": "digits", "batch_size": 32, "limit": 256},
      init={"source": str(source), "strategy": {"name": strategy}},
      training={"steps": 4, "eval_every": 2, **training},
    )

  return make


def test_a_card_has_the_record_of_the_run(digits, tmp_path):
  run, summary = digits
  front, body = export(run, tmp_path / "out")
  assert front["library_name"] == "dlcore"
  assert front["pipeline_tag"] == "image-classification"
  assert front["datasets"] == ["digits"]
  assert "accuracy" in front["metrics"]
  assert not front.keys() & {"license", "base_model"}
  [index] = front["model-index"]
  assert index["name"] == run.name
  scores = {
    f"{result['dataset']['split']}/{metric['type']}": metric["value"]
    for result in index["results"]
    for metric in result["metrics"]
  }
  assert scores == summary["metrics"]
  for name, split in RunFolder(run).splits().items():
    assert f"| {name} | {split['size']:,} | `{split['sha256']}` |" in body
  low, high = summary["intervals"]["test/accuracy"]
  assert f"| {100 * low:.2f}% to {100 * high:.2f}% |" in body
  assert "trivial answer: `always" in body
  assert f"{summary['parameters']:,} parameters were trained, and 0" in body
  assert f"checkpoint: step {summary['best_step']}, with the lowest" in body
  assert "## Initial weights\n\nRandom.\n" in body
  assert "transfer.from_pretrained('out')" in body
  card = (tmp_path / "out" / "MODEL_CARD.md").read_bytes()
  assert card == (tmp_path / "out" / "README.md").read_bytes()


def test_the_hub_reads_the_scores(digits, tmp_path):
  hub = pytest.importorskip("huggingface_hub")
  export(digits[0], tmp_path / "out")
  card = hub.ModelCard.load(tmp_path / "out" / "README.md")
  splits = {result.dataset_split for result in card.data.eval_results}
  assert splits == {"valid", "test"}
  assert card.data.library_name == "dlcore"


@pytest.mark.slow
def test_a_card_has_source_license_and_phases(digits, config, tmp_path):
  source = tmp_path / "private" / "weights"
  experiment.export(digits[0], "safetensors", source)
  (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# x")
  run = tmp_path / "private" / "run"
  experiment.train(config(source, "fine_tune"), run, progress=False)
  front, body = export(run, tmp_path / "out")
  record = RunFolder(run).initial_weights()
  assert front["license"] == record["license"] == "apache-2.0"
  assert "fine_tune" in front["tags"]
  assert "- source: `weights`\n" in body
  assert f"`{record['sha256']}`" in body
  assert "- license: `apache-2.0`" in body
  assert "| 1 | 1 | 90 | 520 |" in body
  assert "| 2 | 3 | 610 | 0 |" in body
  # A run passes on the license of its weights.
  second = tmp_path / "second"
  experiment.train(config(run), second, progress=False)
  assert export(second, tmp_path / "out2")[0]["license"] == "apache-2.0"
  for folder in ("out", "out2"):
    assert str(tmp_path) not in (tmp_path / folder / "README.md").read_text()


def test_a_name_on_the_hub_is_the_base_model(digits):
  front, body = card_of(digits[0], source="hf:org/name@v1")
  assert front["base_model"] == "org/name"
  assert "[`org/name`](https://huggingface.co/org/name) at `v1`" in body
  assert "- license: not known" in body
  front, body = card_of(
    digits[0], source="hf:org/name", strategy={"name": "scratch"}
  )
  assert "base_model" not in front
  assert "Random, in the model of [`org/name`]" in body


def test_paths_of_the_user_are_reduced_to_their_names(digits):
  front, body = card_of(digits[0], source="/home/me/secret/bert/")
  assert "base_model" not in front
  assert "- source: `bert`" in body
  assert "secret" not in body
  assert card_text.base_name("C:\\me\\data\\") == "data"


@pytest.mark.slow
def test_the_data_of_the_user_is_named_by_its_folder(user_data, tiny, tmp_path):
  own = {"name": "image_folder", "path": str(user_data / "pictures")}
  settings = {"image_size": 8, "channels": 1, "batch_size": 4}
  run = tmp_path / "run"
  experiment.train(tiny(data=own | settings), run, progress=False)
  front, body = export(run, tmp_path / "out")
  assert "datasets" not in front
  assert "- files: `pictures` (path)" in body
  assert "- 2 classes: `cat`, `dog`" in body
  assert str(user_data.parent) not in body


def with_classes(run, names):
  """Returns a run whose classes have other names."""
  restored = restore_run(run, None)
  schema = restored.info.schema
  changed = type(schema)(**{**vars(schema), "classes": names})
  info = restored.info._replace(name=names[0], schema=changed)
  return restored._replace(info=info)


def test_strings_of_the_user_are_data(digits, tmp_path):
  for name in HOSTILE:
    run = with_classes(digits[0], (name, *HOSTILE))
    facts = read_facts(run, tmp_path / "out", "dlcore")
    content = model_card.card(facts).encode("utf-8", "replace").decode()
    front, body = parsed_front(content)
    if name:
      assert front["datasets"][0].encode("utf-8", "replace") == (
        name.encode("utf-8", "replace")
      )
    assert front.get("license") is None
    kinds = {token.type for token in inline(body)}
    assert kinds <= {"text", "code_inline", "softbreak"}
    spans = [t.content for t in inline(body) if t.type == "code_inline"]
    for part in ("a`b``c", "`x`", "<script>alert(1)</script>", "é 日本 😀"):
      assert part in spans


def parsed_front(card):
  """Returns the front matter, which ends with the first line of dashes."""
  lines = card.splitlines(keepends=True)
  end = lines.index("---\n", 1)
  return yaml.safe_load("".join(lines[1:end])), "".join(lines[end + 1 :])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_of_a_table_is_one_cell(text):
  table = card_text.table(["a", "b"], [[card_text.code(text), "x"]])
  tokens = MARKDOWN.parse(table)
  assert sum(token.type == "td_open" for token in tokens) == 2
  assert tokens[0].type == "table_open"


def test_long_strings_and_blocks_are_bounded():
  assert len(card_text.code("x" * 10_000)) < 300
  assert card_text.fenced("python", "```").startswith("````python")


def test_files_of_others_are_kept(digits, tmp_path):
  output = tmp_path / "out"
  output.mkdir()
  (output / "README.md").write_text("Mine.")
  text = experiment.export(digits[0], "safetensors", output)
  assert "MODEL_CARD.md: the model card" in text
  assert "README.md: kept, since dlcore did not write it" in text
  assert (output / "README.md").read_text() == "Mine."


def test_an_edited_card_is_kept_and_others_are_replaced(digits, tmp_path):
  output = tmp_path / "out"
  export(digits[0], output)
  card, readme = output / "MODEL_CARD.md", output / "README.md"
  written = card.read_text()
  card.write_text(written.replace("## Data", "## My data"))
  text = experiment.export(digits[0], "safetensors", output)
  assert "MODEL_CARD.md: kept" in text
  assert "## My data" in card.read_text()
  assert readme.read_text() == written
  card.write_text(f"{written}\nMore.\n")
  assert "MODEL_CARD.md: kept" in (
    experiment.export(digits[0], "safetensors", output)
  )


def test_a_link_is_not_followed(digits, tmp_path):
  output = tmp_path / "out"
  output.mkdir()
  (tmp_path / "elsewhere").write_text("Mine.")
  (output / "README.md").symlink_to(tmp_path / "elsewhere")
  text = experiment.export(digits[0], "safetensors", output)
  assert "README.md: kept" in text
  assert (tmp_path / "elsewhere").read_text() == "Mine."


def test_a_run_that_is_not_finished_has_a_card(copy, tmp_path):
  (copy / "summary.json").unlink()
  front, body = export(copy, tmp_path / "out")
  assert "**The run is not finished.**" in body
  assert "From the log, before the run has ended." in body
  [result] = front["model-index"][0]["results"]
  assert result["dataset"]["split"] == "valid"
  (copy / "metrics.jsonl").unlink()
  front, body = export(copy, tmp_path / "out")
  assert "model-index" not in front
  assert "Not measured for this checkpoint." in body


def test_another_checkpoint_has_not_the_scores_of_the_best(copy, tmp_path):
  summary = json.loads((copy / "summary.json").read_text())
  summary["best_step"] += 1
  (copy / "sha256.json").unlink()
  (copy / "summary.json").write_text(json.dumps(summary))
  front, body = export(copy, tmp_path / "out")
  assert "which is not the best one" in body
  splits = {r["dataset"]["split"] for r in front["model-index"][0]["results"]}
  assert splits == {"valid"}


@pytest.mark.parametrize(
  "summary",
  [
    {"metrics": 3},
    {"metrics": {"test/accuracy": float("nan"), "x": "high"}},
    {"intervals": [1], "trivial": "x", "versions": 3, "seconds": "x"},
    {"intervals": {"test/accuracy": [1, None, "x"]}, "trivial_answer": ["`"]},
  ],
)
def test_a_malformed_summary_does_not_prevent_the_card(copy, tmp_path, summary):
  content = json.loads((copy / "summary.json").read_text()) | summary
  (copy / "sha256.json").unlink()
  (copy / "summary.json").write_text(json.dumps(content))
  _, body = export(copy, tmp_path / "out")
  assert "## Scores" in body


def test_a_run_of_fit_has_a_card(tmp_path):
  splits = data.load("digits")
  model = models.create("mlp", widths=(8,), num_classes=10)
  task = tasks.classification(model)
  result = training.fit(
    task,
    optim.create("adam", learning_rate=1e-2),
    splits.train,
    splits.valid,
    steps=3,
    batch_size=32,
    workdir=tmp_path / "run",
    progress=False,
  )
  folder = RunFolder(tmp_path / "run")
  run = RestoredRun(
    folder,
    {},
    folder.info(),
    model,
    task,
    result.best.params,
    result.best.model_state,
    arrays_to_json,
    folder.select_step(),
  )
  facts = read_facts(run, tmp_path / "out", "dlcore")
  front, body = parsed_front(model_card.card(facts))
  assert "model-index" not in front
  assert front["tags"] == ["dlcore", "MLP"]
  assert "- batch size: 32" in body
  assert "## Initial weights\n\nNot recorded." in body
  assert "| loss |" in body


@pytest.mark.parametrize(
  ("files", "identifier"),
  [
    ({"README.md": "---\nlicense: mit\n---\n"}, "mit"),
    ({"README.md": "---\r\nlicense: MIT\r\n---\r\n"}, "mit"),
    ({"README.md": "---\nlicense: [cc-by-4.0]\n---\n"}, "cc-by-4.0"),
    ({"README.md": "---\nlicense: [a, b]\n---\n"}, ""),
    ({"README.md": "---\nlicense: unknown\n---\n"}, ""),
    ({"README.md": "---\nlicense: {a: b}\n---\n"}, ""),
    ({"README.md": "---\nlicense: <script>\n---\n"}, ""),
    ({"README.md": "---\n[" + "[" * 5000 + "\n---\n"}, ""),
    ({"README.md": "---\n!!python/object:os.system x\n---\n"}, ""),
    ({"README.md": "---\nlicense: mit\n"}, ""),
    ({"README.md": "The license is MIT."}, ""),
    ({"README.md": "", "LICENSE": "\n   Apache License\n Version 2.0"},
     "apache-2.0"),
    ({"LICENSE.txt": "MIT License\n\nCopyright"}, "mit"),
    ({"LICENSE": "Llama 3 Community License"}, ""),
    ({"LICENSE": "Not the MIT License"}, ""),
    ({}, ""),
  ],
)  # fmt: skip
def test_a_license_is_read_and_not_guessed(tmp_path, files, identifier):
  for name, content in files.items():
    (tmp_path / name).write_text(content, newline="")
  assert read_license(str(tmp_path)) == identifier


def test_the_license_of_a_single_file_is_not_known(tmp_path):
  (tmp_path / "LICENSE").write_text("MIT License")
  (tmp_path / "model.safetensors").touch()
  assert read_license(str(tmp_path / "model.safetensors")) == ""
  assert read_license(str(tmp_path / "nowhere")) == ""
  (tmp_path / "LICENSE").unlink()
  (tmp_path / "LICENSE").mkdir()
  assert read_license(str(tmp_path)) == ""


@pytest.mark.parametrize("value", [3, None, "a b", "x" * 99, "Unknown", "-"])
def test_a_recorded_license_is_checked(value):
  assert source_license.checked(value) == ""


def test_the_kinds_of_data_of_pipeline_tags_exist():
  for kind in tasks.TASKS.values():
    assert kind.pipeline_tags.keys() <= data.SCHEMAS.keys()
