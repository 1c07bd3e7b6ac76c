"""The call-graph format: what is recorded, stored and sent. No pickle, no eval, no Python source anywhere."""
