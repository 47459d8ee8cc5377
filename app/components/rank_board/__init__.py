"""temporary"""
BOARD_SCRIPT = CURVES_SCRIPT = ""
