"""What `ctiqa-node doctor` looks at: each module one part of it, each finding with what to do."""
