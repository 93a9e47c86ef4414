"""Transfer learning on the user's labelled photos. READ `finetune` FIRST, then `training_process`."""
