"""A model that cannot be a study's language model is refused when it is fetched, before anything is computed for it."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from workflow_scripts.assets.errors import AssetError
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.settings.assets import AssetSettings

TEMPLATE = "{% for m in messages %}<|start|>{{ m['role'] }}<|sep|>{{ m['content'] }}<|end|>{% endfor %}<|start|>"
MARKS = ("<|start|>", "<|sep|>", "<|end|>")


@pytest.fixture
def make_model(tmp_path):
    """Writes a model folder with a byte tokenizer of 259 ids and gives the settings of an asset made from it."""

    def make(*, template=TEMPLATE, end="<|end|>", embeddings=259, unknown=None, marks=MARKS, name="model"):
        folder = tmp_path / "sources" / name
        folder.mkdir(parents=True)
        letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        tokenizer = Tokenizer(models.BPE(letters, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.add_special_tokens(list(marks))
        tokenizer.save(str(folder / "tokenizer.json"))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "unk_token": unknown}
        config |= {"chat_template": template}
        (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if v}))
        (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": embeddings}))
        save_file({"x": np.zeros(3, np.float32)}, folder / "model.safetensors")
        return {"path": str(folder)}

    return make


def fetch(tmp_path, *sources, format="transformers", backbone=True):
    asset = AssetSettings.model_validate({"format": format, "licence": "MIT", "sources": list(sources)})
    return fetch_asset("mine", asset, tmp_path / "mine", backbone=backbone)


def test_a_chat_model_is_accepted(tmp_path, make_model):
    assert fetch(tmp_path, make_model()).has_chat_template


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": None}, r"mine: the tokenizer has no chat template; use an instruction-tuned model"),
        ({"template": "<|start|>{{ messages[0]['role'] }}"}, r"shows the user's turn 0 times"),
        ({"embeddings": 258}, r"needs token '<\|end\|>', id 258, but the model has 258 embeddings"),
        ({"end": None}, r"mine: the tokenizer has no eos_token"),
        ({"template": "{{ raise_exception('no way') }}"}, r"cannot be rendered \(no way\)"),
    ],
)
def test_an_unfit_backbone_is_refused_with_its_name_and_leaves_no_record(tmp_path, make_model, changes, message):
    with pytest.raises(AssetError, match=message):
        fetch(tmp_path, make_model(**changes))
    assert not (tmp_path / "mine" / "asset.json").exists()


def test_only_backbones_need_a_chat_template(tmp_path, make_model):
    assert not fetch(tmp_path, make_model(template=None), backbone=False).has_chat_template


def test_the_next_source_may_be_fit(tmp_path, make_model):
    record = fetch(tmp_path, make_model(template=None, name="bare"), make_model(name="chat"))
    assert record.source.path.endswith("chat")


def test_plain_files_are_no_backbone(tmp_path, make_model):
    with pytest.raises(AssetError, match="mine has format 'files', but `models` names it as a backbone"):
        fetch(tmp_path, make_model(), format="files")
