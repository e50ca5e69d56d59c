"""ad-hoc: three DeepStack layers, group of 4, tied embeddings."""
import pytest, torch, json
from pathlib import Path
from transformers import Qwen3VLForConditionalGeneration, AutoTokenizer, Qwen3VLConfig
import shutil
from streaming import models
from tests.streaming import test_exact as X
def test_big(tmp_path, tiny_folder):
    p=tmp_path/"big"; shutil.copytree(tiny_folder,p)
    c=json.loads((p/"config.json").read_text())
    c["vision_config"]["depth"]=4; c["vision_config"]["deepstack_visual_indexes"]=[0,1,3]
    c["text_config"].update(num_attention_heads=8,num_hidden_layers=5)
    c["tie_word_embeddings"]=True
    torch.manual_seed(3)
    cfg=Qwen3VLConfig(**c); m=Qwen3VLForConditionalGeneration(cfg).eval()
    with torch.no_grad():
        for n,w in m.named_parameters():
            if w.ndim>1: w.normal_(0,1.5/w[0].numel()**.5)
    m.save_pretrained(p)
    mine=models.load(str(p),cache_dir=tmp_path)
    stock=Qwen3VLForConditionalGeneration.from_pretrained(p,attn_implementation="sdpa").eval()
    for pairing in ("repeat","pair"):
        X.test_64_frames_one_by_one_equal_one_shot_of_the_stock_model(mine,stock,pairing)
