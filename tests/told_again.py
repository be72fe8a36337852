"""Which chapters are told again, in the second edition: what it asks of a chapter binds these."""

TOLD_AGAIN = {
    "00_start_here",
    "01_gradient_descent",
    "02_too_large_too_small",
    "03_schedules_in_pytorch",
    "04_steps",
    "05_smooth_decay",
    "06_cosine",
    "07_cycles",
    "08_listening_to_the_loss",
    "09_compose_your_own",
    "10_adaptive_optimizers",
    "11_warmup",
    "12_noam",
    "13_transformer",
    "14_llm_era",
    "15_fine_tuning",
    "16_predicting_the_loss",
    "17_scaling",
    "18_watching_and_mending",
    "19_choosing",
}  # by the name of their file, without its ending
REFERENCE = {"20_scheduler_reference"}  # to look up: none to work through
