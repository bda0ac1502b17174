"""Continues a prompt with a language model, or translates it.

  generate.py --workdir=runs/docs_lm --prompt="The import statement"
  generate.py --workdir=runs/docs_lm --prompt=def --temperature=0.7 --top_p=0.9

Prints the prompt and its continuation as it is generated. A model of pairs
prints the translation alone, and one of chats the answer; predict.py translates
files line by line. A prompt that is longer than the context of the model is
refused; characters that are unknown to its tokenizer are counted on standard
error.
"""

from absl import flags

from dlcore import command
from dlcore.filesystem import printable

WORKDIR = flags.DEFINE_string("workdir", None, "the run folder")
PROMPT = flags.DEFINE_string("prompt", None, "the beginning of the text")
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")
MAX_NEW_TOKENS = flags.DEFINE_integer(
  "max_new_tokens",
  0,
  "largest number of new tokens (0: 256, or as many as the model has room for)",
)
TEMPERATURE = flags.DEFINE_float(
  "temperature",
  None,
  "divisor of the logits (0: the most probable token, as in translations)",
)
TOP_K = flags.DEFINE_integer(
  "top_k", 0, "samples from so many most probable tokens (0: from all)"
)
TOP_P = flags.DEFINE_float(
  "top_p", 1.0, "samples from the most probable tokens of this probability"
)
MIN_P = flags.DEFINE_float(
  "min_p", 0.0, "least probability in multiples of that of the best token"
)
REPETITION_PENALTY = flags.DEFINE_float(
  "repetition_penalty", 1.0, "above 1: tokens of the text become less probable"
)
NO_REPEAT_NGRAM_SIZE = flags.DEFINE_integer(
  "no_repeat_ngram_size", 0, "no n-gram of this size occurs twice (0: off)"
)
NUM_BEAMS = flags.DEFINE_integer(
  "num_beams", 1, "above 1: searches for the most probable text"
)
SEED = flags.DEFINE_integer("seed", 0, "of the random choices")
STOP = flags.DEFINE_multi_string(
  "stop", [], "a string before which the text ends; may be repeated"
)


def main():
  """Prints the prompt and its continuation."""
  from dlcore import experiment

  workdir, prompt = command.required(WORKDIR), command.required(PROMPT)
  command.no_arguments()
  settings = experiment.GenerationSettings(
    max_new_tokens=MAX_NEW_TOKENS.value,
    temperature=TEMPERATURE.value,
    top_k=TOP_K.value,
    top_p=TOP_P.value,
    min_p=MIN_P.value,
    repetition_penalty=REPETITION_PENALTY.value,
    no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE.value,
    num_beams=NUM_BEAMS.value,
    seed=SEED.value,
    stop=STOP.value,
    echo=True,
  )
  for piece in experiment.generate_text(workdir, prompt, settings, STEP.value):
    print(printable(piece), end="", flush=True)
  print()


if __name__ == "__main__":
  command.run(main)
