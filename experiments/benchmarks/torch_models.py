"""The models of `problems.py` in idiomatic PyTorch.

Each function takes the module `torch` and returns a module that maps the same
inputs, images as `[B, C, Y, X]`, to logits.
"""


def mlp(torch):
  """Returns the model of `problems.mlp`."""
  nn = torch.nn
  return nn.Sequential(
    nn.Flatten(),
    nn.Linear(784, 256),
    nn.ReLU(),
    nn.Linear(256, 128),
    nn.ReLU(),
    nn.Linear(128, 10),
  )


def cnn(torch):
  """Returns the model of `problems.cnn`."""
  nn = torch.nn
  return nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False),
    nn.MaxPool2d(2),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, bias=False),
    nn.MaxPool2d(2),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 49, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
  )


def resnet18(torch):
  """Returns the model of `problems.resnet18`."""
  nn = torch.nn

  def convolution(channels, features, stride, size=3):
    return nn.Sequential(
      nn.Conv2d(channels, features, size, stride, size // 2, bias=False),
      nn.BatchNorm2d(features),
    )

  class Block(nn.Module):
    def __init__(self, channels, features, stride):
      super().__init__()
      self.first = convolution(channels, features, stride)
      self.second = convolution(features, features, 1)
      self.shortcut = (
        nn.Identity()
        if stride == 1 and channels == features
        else convolution(channels, features, stride, size=1)
      )

    def forward(self, x):
      y = self.second(nn.functional.relu(self.first(x)))
      return nn.functional.relu(y + self.shortcut(x))

  blocks, channels = [], 64
  for features in (64, 128, 256, 512):
    stride = 1 if features == 64 else 2
    blocks += [Block(channels, features, stride), Block(features, features, 1)]
    channels = features
  return nn.Sequential(
    convolution(3, 64, 1),
    nn.ReLU(),
    *blocks,
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(512, 10),
  )


def recurrent(name):
  """Returns a function that creates the model of `problems.recurrent`."""

  def make(torch):
    nn = torch.nn

    class Classifier(nn.Module):
      def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[name]
        self.layer = layer(128, 128, batch_first=True)
        self.head = nn.Linear(128, 10)

      def forward(self, input_ids):
        outputs, _ = self.layer(self.embed(input_ids))
        return self.head(outputs[:, -1])

    return Classifier()

  return make


def transformer(torch):
  """Returns the model of `problems.transformer`."""
  nn = torch.nn

  class Encoder(nn.Module):
    def __init__(self):
      super().__init__()
      self.embed = nn.Embedding(1000, 128)
      self.positions = nn.Parameter(torch.randn(100, 128) * 0.02)
      self.norm = nn.LayerNorm(128, eps=1e-12)
      self.blocks = _blocks(nn, 4, 128, 4, norm_first=False)
      self.pooler = nn.Linear(128, 128)
      self.head = nn.Linear(128, 10)

    def forward(self, input_ids):
      x = self.blocks(self.norm(self.embed(input_ids) + self.positions))
      return self.head(torch.tanh(self.pooler(x[:, 0])))

  return Encoder()


def vit_tiny(torch):
  """Returns the model of `problems.vit_tiny`."""
  nn = torch.nn

  class ViT(nn.Module):
    def __init__(self):
      super().__init__()
      self.patches = nn.Conv2d(3, 192, 8, 8)
      self.token = nn.Parameter(torch.randn(1, 1, 192) * 0.02)
      self.positions = nn.Parameter(torch.randn(17, 192) * 0.02)
      self.blocks = _blocks(nn, 12, 192, 3, norm_first=True)
      self.norm = nn.LayerNorm(192, eps=1e-6)
      self.head = nn.Linear(192, 10)

    def forward(self, images):
      x = self.patches(images).flatten(2).transpose(1, 2)
      x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
      return self.head(self.norm(self.blocks(x + self.positions))[:, 0])

  return ViT()


def lstm_lm(torch):
  """Returns the model of `problems.lstm_lm`.

  Its state continues from call to call, outside of the gradient, until `reset`.
  """
  nn = torch.nn

  class LanguageModel(nn.Module):
    def __init__(self):
      super().__init__()
      self.encoder = nn.Embedding(96, 256)
      self.rnn = nn.LSTM(256, 256, batch_first=True)
      self.decoder = nn.Linear(256, 96)
      self.reset()

    def reset(self):
      self.state = None

    def forward(self, input_ids):
      outputs, state = self.rnn(self.encoder(input_ids), self.state)
      self.state = tuple(array.detach() for array in state)
      return self.decoder(outputs)

  return LanguageModel()


def gpt2_lm(torch):
  """Returns the model of `problems.gpt2_lm`, with the names of transformers."""
  nn = torch.nn
  functional = nn.functional

  class Attention(nn.Module):
    def __init__(self):
      super().__init__()
      self.c_attn = nn.Linear(192, 3 * 192)
      self.c_proj = nn.Linear(192, 192)

    def forward(self, x):
      shape = (*x.shape[:2], 6, 32)
      heads = [
        part.view(shape).transpose(1, 2) for part in self.c_attn(x).chunk(3, -1)
      ]
      y = functional.scaled_dot_product_attention(*heads, is_causal=True)
      return self.c_proj(y.transpose(1, 2).reshape(x.shape))

  class FeedForward(nn.Module):
    def __init__(self):
      super().__init__()
      self.c_fc = nn.Linear(192, 4 * 192)
      self.c_proj = nn.Linear(4 * 192, 192)

    def forward(self, x):
      return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.ln_1, self.attn = nn.LayerNorm(192), Attention()
      self.ln_2, self.mlp = nn.LayerNorm(192), FeedForward()

    def forward(self, x):
      x = x + self.attn(self.ln_1(x))
      return x + self.mlp(self.ln_2(x))

  class GPT2(nn.Module):
    def __init__(self):
      super().__init__()
      self.wte = nn.Embedding(96, 192)
      self.wpe = nn.Embedding(256, 192)
      self.h = nn.Sequential(*(Block() for _ in range(4)))
      self.ln_f = nn.LayerNorm(192)

    def forward(self, input_ids):
      x = self.wte(input_ids) + self.wpe.weight[: input_ids.shape[1]]
      return functional.linear(self.ln_f(self.h(x)), self.wte.weight)

  return GPT2()


def load_weights(module, arrays, torch):
  """Loads published arrays by name into a module.

  The names may have the prefix `transformer.`. Kernels of GPT-2, whose names
  begin with `c_`, are published as `[in, out]`.
  """
  weights = {}
  for name, array in arrays.items():
    name = name.removeprefix("transformer.")
    is_kernel = ".c_" in name and name.endswith(".weight")
    weights[name] = torch.from_numpy((array.T if is_kernel else array).copy())
  expected = module.state_dict().keys()
  module.load_state_dict({name: weights[name] for name in expected})


def _blocks(nn, depth, width, heads, *, norm_first):
  block = nn.TransformerEncoderLayer(
    width,
    heads,
    4 * width,
    dropout=0.0,
    activation="gelu",
    batch_first=True,
    norm_first=norm_first,
  )
  return nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
