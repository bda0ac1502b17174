"""Small archives in the formats of the published data sets of texts.

Each function writes the files of one data set under the names that TFDS
registers. Its examples are random words that decide the target.
"""

import csv
import io
import random
import socket
import tarfile
import zipfile

WORDS = {
  "en": ("one", "two", "three", "four", "five", "six", "seven"),
  "pt": ("um", "dois", "três", "quatro", "cinco", "seis", "sete"),
  "de": ("eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"),
}
"""Words of the same meaning by language."""

TONES = (("dull", "poor", "sad"), ("fine", "great", "nice"))
TOPICS = {
  "World": "peace",
  "Sports": "goal",
  "Business": "market",
  "Sci/Tech": "robot",
}
RELATIONS = ("neutral", "entailment", "contradiction")


def forbid_network(patch):
  """Makes every attempt to reach another machine an error."""

  def refuse(*arguments, **settings):
    raise OSError("the network must not be used")

  patch.setattr(socket.socket, "connect", refuse)
  patch.setattr(socket, "getaddrinfo", refuse)


def sentences(count, seed, words=WORDS["en"]):
  """Sentences of different lengths, which differ from one another."""
  rng = random.Random(seed)
  return [
    " ".join([*rng.choices(words, k=2 + i % 5), f"{seed}.{i}"])
    for i in range(count)
  ]


def imdb(folder, count=24):
  """Reviews by split and class, in `aclImdb_v1.tar.gz`."""
  examples = {}
  with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as archive:
    add(archive, "aclImdb/README", b"Large Movie Review Dataset v1.0")
    for seed, part in enumerate(("train", "test")):
      texts = sentences(count, seed)
      examples[part] = [
        (f"A {tone(i)} film. {text} é<br /><br />", ("neg", "pos")[i % 2])
        for i, text in enumerate(texts)
      ]
      for i, (text, label) in enumerate(examples[part]):
        name = f"aclImdb/{part}/{label}/{i}_{9 if label == 'pos' else 1}.txt"
        add(archive, name, f"{text}\n".encode())
    examples["unsupervised"] = sentences(6, 2)
    for i, text in enumerate(examples["unsupervised"]):
      add(archive, f"aclImdb/train/unsup/{i}_0.txt", text.encode())
  return examples


def ag_news(folder, count=24):
  """News with a class from 1 to 4, in `ag_news_csv.tar.gz`."""
  examples, topics = {}, [*TOPICS]
  with tarfile.open(folder / "ag_news_csv.tar.gz", "w:gz") as archive:
    for seed, part in enumerate(("train", "test")):
      examples[part] = [
        (f'The "{TOPICS[topics[i % 4]]}", {text}', topics[i % 4])
        for i, text in enumerate(sentences(count, seed))
      ]
      stream = io.StringIO()
      writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
      for text, label in examples[part]:
        writer.writerow([1 + topics.index(label), f"On {label}", text])
      name = f"ag_news_csv/{part}.csv"
      add(archive, name, stream.getvalue().encode())
  return examples


def sst2(folder, count=24):
  """Sentences of two classes, in `SST-2.zip`; those of test have none."""
  examples = {
    part: [
      (f"a {tone(i)} film {text} ", ("negative", "positive")[i % 2])
      for i, text in enumerate(sentences(count, seed))
    ]
    for seed, part in enumerate(("train", "validation", "test"))
  }
  _glue(
    folder / "SST-2.zip",
    {
      **{
        file: (
          ("sentence", "label"),
          [(text, int(c == "positive")) for text, c in examples[part]],
        )
        for file, part in (("train", "train"), ("dev", "validation"))
      },
      "test": (
        ("index", "sentence"),
        [(i, text) for i, (text, _) in enumerate(examples["test"])],
      ),
    },
  )
  return examples


def mnli(folder, count=24):
  """Premises and hypotheses of three classes, in `MNLI.zip`."""
  first = ("index", "promptID", "pairID", "genre", "sentence1", "sentence2")
  labels = ("label1", "gold_label")
  examples, files = {}, {}
  for seed, (file, part) in enumerate(
    {
      "train": "train",
      "dev_matched": "validation_matched",
      "dev_mismatched": "validation_mismatched",
      "test_matched": "test_matched",
      "test_mismatched": "test_mismatched",
    }.items()
  ):
    examples[part] = [
      ((text, f"{RELATIONS[i % 3]} of {text[:3]}"), RELATIONS[i % 3])
      for i, text in enumerate(sentences(count, seed))
    ]
    rows = [
      (i, i, f"{i}n", "fiction", *pair, label, label)
      for i, (pair, label) in enumerate(examples[part])
    ]
    is_test = file.startswith("test")
    header = first if is_test else (*first, *labels)
    files[file] = header, [row[: len(header)] for row in rows]
  _glue(folder / "MNLI.zip", files)
  return examples


def stsb(folder, count=24):
  """Pairs of sentences and a similarity from 0 to 5, in `STS-B.zip`."""
  first = ("index", "genre", "filename", "year", "old_index", "source1")
  texts = ("source2", "sentence1", "sentence2")
  examples, files = {}, {}
  for seed, (file, part) in enumerate(
    {"train": "train", "dev": "validation", "test": "test"}.items()
  ):
    examples[part] = [
      ((text, text[::-1] if i % 3 else text), 5.0 - 1.25 * (i % 3))
      for i, text in enumerate(sentences(count, seed))
    ]
    rows = [
      (i, "news", "file", 2015, i, "a", "b", *pair, f"{score:.3f}")
      for i, (pair, score) in enumerate(examples[part])
    ]
    header = (*first, *texts, *(() if file == "test" else ("score",)))
    files[file] = header, [row[: len(header)] for row in rows]
  _glue(folder / "STS-B.zip", files)
  return examples


def ted(folder, count=24):
  """Portuguese and English talks, in `qi18naacl-dataset.tar.gz`."""
  examples = {}
  with tarfile.open(folder / "qi18naacl-dataset.tar.gz", "w:gz") as archive:
    for seed, part in enumerate(("train", "dev", "test")):
      examples[part] = translations(count, seed, "pt", "en")
      for language, lines in zip(
        ("pt", "en"), zip(*examples[part], strict=True), strict=True
      ):
        name = f"datasets/pt_to_en/{language}.{part}"
        add(archive, name, "".join(f"{line}\n" for line in lines).encode())
  return examples


def wmt14(folder, count=24):
  """German and English of WMT 2014: three archives of train, one of dev."""
  examples = {"train": [], "dev": [], "test": []}
  for seed, (file, start) in enumerate(
    {
      "training-parallel-europarl-v7.tgz": "training/europarl-v7.de-en",
      "training-parallel-commoncrawl.tgz": "commoncrawl.de-en",
      "training-parallel-nc-v9.tgz": "training/news-commentary-v9.de-en",
    }.items()
  ):
    pairs = translations(count, seed, "de", "en")
    examples["train"] += pairs
    with tarfile.open(folder / file, "w:gz") as archive:
      for language, lines in zip(
        ("de", "en"), zip(*pairs, strict=True), strict=True
      ):
        content = "".join(f"{line}\n" for line in lines).encode()
        add(archive, f"{start}.{language}", content)
  with tarfile.open(folder / "dev.tgz", "w:gz") as archive:
    for seed, (part, year) in enumerate({"dev": 2013, "test": 2014}.items()):
      pairs = translations(count, 10 + seed, "de", "en")
      examples[part] = pairs
      for language, lines in zip(
        ("de", "en"), zip(*pairs, strict=True), strict=True
      ):
        name, content = _news(year, language, lines)
        add(archive, name, content)
  return examples


def lm1b(folder, count=24):
  """Sentences of news in files of train and of the held-out part."""
  root = "1-billion-word-language-modeling-benchmark-r13output"
  examples = {}
  with tarfile.open(folder / f"{root}.tar.gz", "w:gz") as archive:
    for part, names in {
      "train": (
        "training-monolingual.tokenized.shuffled/news.en-00001-of-00100",
        "training-monolingual.tokenized.shuffled/news.en-00002-of-00100",
      ),
      "test": (
        "heldout-monolingual.tokenized.shuffled/news.en.heldout-00000-of-00050",
      ),
    }.items():
      examples[part] = []
      for name in names:
        lines = sentences(count, len(examples[part]) + len(names))
        examples[part] += lines
        content = "".join(f"{line}\n" for line in lines).encode()
        add(archive, f"{root}/{name}", content)
  return examples


def tone(number):
  """A word of the class `number % 2`."""
  return TONES[number % 2][number % 3]


def translations(count, seed, *languages):
  """Tuples of the same numbers in some languages."""
  rng = random.Random(seed)
  rows = [rng.choices(range(7), k=2 + i % 5) for i in range(count)]
  return [
    tuple(
      " ".join([*(WORDS[language][i] for i in row), str(100 * seed + number)])
      for language in languages
    )
    for number, row in enumerate(rows)
  ]


def _news(year, language, lines):
  """The name and the content of one side of a set of news."""
  if year == 2013:
    name = f"dev/newstest2013.{language}"
    return name, "".join(f"{line}\n" for line in lines).encode()
  kind = "src" if language == "de" else "ref"
  segments = (f'<seg id="{i}">{line}</seg>' for i, line in enumerate(lines, 1))
  content = "\n".join([f"<{kind}set>", "<doc>", *segments, "</doc>", ""])
  return f"dev/newstest2014-deen-{kind}.{language}.sgm", content.encode()


def add(archive, name, content):
  entry = tarfile.TarInfo(name)
  entry.size = len(content)
  archive.addfile(entry, io.BytesIO(content))


def _glue(path, files):
  """Writes tables `(header, rows)` by name, with tabs and without quotes."""
  with zipfile.ZipFile(path, "w") as archive:
    for name, (header, rows) in files.items():
      lines = ["\t".join(map(str, row)) for row in (header, *rows)]
      content = "".join(f"{line}\n" for line in lines)
      archive.writestr(f"{path.stem}/{name}.tsv", content)
