# Installation of software packages without asking: caisseauto
# import_updatecaisse, which is update --confirm never. Arguments are those of the program:
#   powershell -NoProfile -File import_updatecaisse.ps1 --config C:\ProgramData\caisseauto\till.toml
# They are taken as they stand, so that there is no param() here.
. (Join-Path $PSScriptRoot 'caisseauto.ps1')
exit (Invoke-Caisseauto 'import_updatecaisse' 'import_updatecaisse' (Join-Path $env:ProgramData 'caisseauto\till.toml') $args)
