"""Folders of low-rank adapters in the format of Hugging Face's PEFT.

`writing.py` and `reading.py` convert between the adapters of `tasks.lora` and
such a folder. `adapter_config.py` checks its adapter_config.json,
`module_names.py` matches names of modules, and `layouts.py` converts arrays.
"""
