"""Folders of low-rank adapters in the format of Hugging Face's PEFT.

`writing.py` writes the adapters of `tasks.lora`. `loading.py` loads a folder,
which `folder_reading.py` reads and checks, as those of `loaded_adapters.py`.
`adapter_config.py` has the entries of adapter_config.json, `module_names.py`
matches names of modules, and `layouts.py` converts arrays.
"""
