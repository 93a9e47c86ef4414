"""Transfer learning on the user's labelled photos. READ FIRST: `finetune`, then `training_process`."""
