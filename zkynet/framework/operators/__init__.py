"""The operators, by kind. `zkynet.framework.op` offers all of them."""
