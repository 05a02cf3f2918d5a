"""MP-100, to the letter of its reference code (spec/ecosystem.md section 2a)."""
